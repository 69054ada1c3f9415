"""Scenes of the size of a training batch: COCO-like objects on the YOLOX grid, predictions of a half-trained head."""

import torch
from torch import Tensor

from yolox_ops.yolox import anchor_grid


def scene(counts: list[int], classes: int = 80, size: int = 640, seed: int = 0) -> tuple[Tensor, ...]:
    """The eight positional arguments of simota, images padded to the largest of `counts`."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    points, strides = anchor_grid(size, size)
    B, N, G = len(counts), len(points), max(1, *counts)
    gt_centre = torch.rand(B, G, 2, generator=generator) * size
    gt_size = torch.exp(torch.rand(B, G, 2, generator=generator) * 3.2) * 10
    gt_boxes = torch.cat([gt_centre, gt_size], -1)
    gt_labels = torch.randint(0, classes, (B, G), generator=generator)
    pred_boxes = torch.cat(
        [points + normal(B, N, 2) * strides[:, None], torch.exp(normal(B, N, 2) * 0.5) * strides[:, None] * 4], -1
    )
    cls_logits = normal(B, N, classes) - 3
    obj_logits = normal(B, N) - 2
    for b, count in enumerate(counts):
        for g in range(count):
            near = (points - gt_centre[b, g]).abs().amax(-1) < 1.5 * strides
            pred_boxes[b, near] = gt_boxes[b, g] * (1 + 0.15 * normal(int(near.sum()), 4))
            cls_logits[b, near, gt_labels[b, g]] += 3
            obj_logits[b, near] += 2
    return pred_boxes, cls_logits, obj_logits, points, strides, gt_boxes, gt_labels, torch.tensor(counts)


def corners(boxes: Tensor) -> Tensor:
    """[..., 4], x1, y1, x2, y2 of centres and sizes."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def undecoded(pred_boxes: Tensor, anchor_points: Tensor, strides: Tensor) -> Tensor:
    """[B, N, 4], what a head says where its decoded boxes are pred_boxes."""
    stride = strides[:, None]
    centre = pred_boxes[..., :2] / stride - (anchor_points / stride - 0.5)
    return torch.cat([centre, torch.log(pred_boxes[..., 2:] / stride)], -1)
