"""Random scenes for SimOTA. Boxes lie on a lattice of 1/8 pixel, so that float32 geometry and overlaps are as exact as
the float64 reference's, and strict comparisons meet equality often."""

from collections.abc import Sequence

import torch
from torch import Tensor

from yolox_ops import Scene
from yolox_ops.yolox import anchor_grid


def take_image(scene: Scene, b: int) -> tuple:
    """Image b without padding as the arguments of python_ref.simota, in float64."""
    count = scene.gt_boxes.shape[1] if scene.num_gts is None else int(scene.num_gts[b])
    return (
        scene.pred_boxes[b].double().tolist(),
        scene.cls_logits[b].double().tolist(),
        None if scene.obj_logits is None else scene.obj_logits[b].double().tolist(),
        scene.anchor_points.double().tolist(),
        scene.strides.double().tolist(),
        scene.gt_boxes[b, :count].double().tolist(),
        scene.gt_labels[b, :count].tolist(),
    )


def random_gts(shape: Sequence[int], extent: float, generator: torch.Generator, margin: float = 12.0) -> Tensor:
    """[*shape, 4]; centres may lie up to `margin` pixels outside the image."""
    centre = torch.rand(*shape, 2, generator=generator) * (extent + 2 * margin) - margin
    size = torch.exp(torch.rand(*shape, 2, generator=generator) * 3.5) * 3
    return torch.cat([(centre * 8).round() / 8, (size * 4).ceil() / 4], -1)


def random_scene(
    counts: Sequence[int], classes: int = 5, size: int = 96, seed: int = 0, objectness: bool = True, pad: int = 2
) -> Scene:
    """Predictions scattered around their anchors, some of them close to a ground truth."""
    generator = torch.Generator().manual_seed(seed)
    points, strides = anchor_grid(size, size)
    B, N, G = len(counts), len(points), max(counts) + pad
    centre = points + torch.randn(B, N, 2, generator=generator) * strides[:, None]
    extent = torch.exp(torch.randn(B, N, 2, generator=generator) * 0.5) * strides[:, None] * 3
    pred_boxes = torch.cat([(centre * 8).round() / 8, (extent * 4).ceil() / 4], -1)
    gt_boxes = random_gts((B, G), size, generator)
    close = torch.rand(B, N, generator=generator) < 0.3
    nearest = torch.cdist(points.expand(B, N, 2), gt_boxes[..., :2]).argmin(-1)
    noisy = gt_boxes.gather(1, nearest[..., None].expand(B, N, 4))
    noisy = noisy + (torch.randn(B, N, 4, generator=generator) * 16).round() / 8
    noisy[..., 2:].clamp_(min=0.25)
    pred_boxes = torch.where(close[..., None], noisy, pred_boxes)
    obj_logits = torch.randn(B, N, generator=generator) * 2 - 1
    return Scene(
        pred_boxes,
        torch.randn(B, N, classes, generator=generator) * 2 - 1,
        obj_logits if objectness else None,
        points,
        strides,
        gt_boxes,
        torch.randint(0, classes, (B, G), generator=generator),
        torch.tensor(counts),
    )


def golden_scene() -> Scene:
    """64 x 64 pixels, 84 anchors, three objects; check_golden has what a run of Megvii's code gave."""
    points, strides = anchor_grid(64, 64)
    j = torch.arange(84.0)
    size = torch.stack([2 + 0.01 * j, 3 - 0.005 * j], -1) * strides[:, None]
    return Scene(
        torch.cat([points, size], -1)[None],
        torch.stack([j.sin(), j.cos(), (2 * j).sin()], -1)[None],
        (3 * j).cos()[None],
        points,
        strides,
        torch.tensor([[[20.0, 20, 24, 24], [44, 30, 30, 50], [28, 24, 20, 30]]]),
        torch.tensor([[0, 2, 1]]),
        torch.tensor([3]),
    )
