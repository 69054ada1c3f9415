"""Scenes of the size of a training batch: objects on the YOLOX grid, predictions of a half-trained head."""

import importlib.util
import math
import random
import xml.etree.ElementTree as ET
from pathlib import Path

import torch
from torch import Tensor

from yolox_ops import Scene
from yolox_ops.yolox import anchor_grid

AERIAL = "2019_YELL_2_528000_4978000_image_crop2.xml"


def scene(counts: list[int], classes: int = 80, size: int = 640, seed: int = 0) -> Scene:
    """COCO-like objects, `counts` of them in each image, images padded to the largest."""
    generator = torch.Generator().manual_seed(seed)
    B, G = len(counts), max(1, *counts)
    gt_centre = torch.rand(B, G, 2, generator=generator) * size
    gt_size = torch.exp(torch.rand(B, G, 2, generator=generator) * 3.2) * 10
    gt_labels = torch.randint(0, classes, (B, G), generator=generator)
    return _with_predictions(torch.cat([gt_centre, gt_size], -1), gt_labels, counts, classes, size, generator)


def _with_predictions(
    gt_boxes: Tensor, gt_labels: Tensor, counts: list[int], classes: int, size: int, generator: torch.Generator
) -> Scene:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    points, strides = anchor_grid(size, size)
    B, N = len(counts), len(points)
    pred_boxes = torch.cat(
        [points + normal(B, N, 2) * strides[:, None], torch.exp(normal(B, N, 2) * 0.5) * strides[:, None] * 4], -1
    )
    cls_logits = normal(B, N, classes) - 3
    obj_logits = normal(B, N) - 2
    for b, count in enumerate(counts):
        for g in range(count):
            near = (points - gt_boxes[b, g, :2]).abs().amax(-1) < 1.5 * strides
            pred_boxes[b, near] = gt_boxes[b, g] * (1 + 0.15 * normal(int(near.sum()), 4))
            cls_logits[b, near, gt_labels[b, g]] += 3
            obj_logits[b, near] += 2
    return Scene(pred_boxes, cls_logits, obj_logits, points, strides, gt_boxes, gt_labels, torch.tensor(counts))


def coco_counts(images: int, seed: int = 0) -> list[int]:
    """Objects of images as COCO train2017 has them: of mean 7.3 (860,001 in 118,287 images) and 0 in 1,021 of those; a
    geometric distribution, whose 99th percentile, 34, is COCO's too (33)."""
    draw = random.Random(seed)
    shrink = math.log(1 - 1 / (7.3 * 118_287 / (118_287 - 1_021)))
    return [
        0 if draw.random() < 1_021 / 118_287 else 1 + int(math.log(1 - draw.random()) / shrink) for _ in range(images)
    ]


def aerial_boxes(size: int) -> Tensor:
    """[574, 4] cxcywh, the trees that people marked in one aerial image of 2299 x 2472 pixels (NEON's site YELL, from
    the wheel of deepforest), which is scaled to fit `size` x `size`."""
    package = importlib.util.find_spec("deepforest")  # found and not imported, as that takes much else
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the aerial scene is in the package deepforest, which is not installed")
    root = ET.parse(Path(package.origin).parent / "data" / AERIAL).getroot()
    box = [
        [float(found.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
        for found in root.iter("object")
    ]
    x1, y1, x2, y2 = torch.tensor(box).unbind(-1)
    longest = max(float(root.findtext(f"size/{side}")) for side in ("width", "height"))
    return torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], -1) * (size / longest)


def aerial_scene(size: int = 640, seed: int = 0) -> Scene:
    """One class, one image of 574 trees."""
    boxes = aerial_boxes(size)[None]
    generator = torch.Generator().manual_seed(seed)
    return _with_predictions(
        boxes, torch.zeros(boxes.shape[:2], dtype=torch.int64), [boxes.shape[1]], 1, size, generator
    )


def random_boxes(*shape: int, seed: int = 0, canvas: float = 600.0) -> Tensor:
    """[*shape, 4], corners; boxes of 1 to 60 pixels."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(*shape, 2, generator=generator) * canvas
    return torch.cat([corner, corner + 1 + torch.rand(*shape, 2, generator=generator) * 59], -1)


def random_detections(*shape: int, canvas: float = 600.0, kinds: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """boxes, scores, labels."""
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(*shape, generator=generator)
    return random_boxes(*shape, canvas=canvas), scores, torch.randint(kinds, shape, generator=generator)


def corners(boxes: Tensor) -> Tensor:
    """[..., 4], x1, y1, x2, y2 of centres and sizes."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def undecoded(pred_boxes: Tensor, anchor_points: Tensor, strides: Tensor) -> Tensor:
    """[B, N, 4], what a head says where its decoded boxes are pred_boxes."""
    stride = strides[:, None]
    centre = pred_boxes[..., :2] / stride - (anchor_points / stride - 0.5)
    return torch.cat([centre, torch.log(pred_boxes[..., 2:] / stride)], -1)
