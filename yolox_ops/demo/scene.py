"""Seeded scenes for the demo: real handwritten digits on textured canvases, and predictions such as a half-trained
detector makes for them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Generator, Tensor

CLASSES = 10


class Scene(NamedTuple):
    images: Tensor  # [B, 3, S, S] uint8, RGB
    gt_boxes: Tensor  # [B, G, 4] float32, cxcywh in pixels; rows at or past num_gts are zero
    gt_labels: Tensor  # [B, G] int64, the digit
    num_gts: Tensor  # [B] int64


class Predictions(NamedTuple):
    pred_boxes: Tensor  # [B, N, 4] float32, cxcywh in pixels
    cls_logits: Tensor  # [B, N, C] float32
    obj_logits: Tensor  # [B, N] float32


def make_scene(batch: int, size: int, generator: Generator) -> Scene:
    """A batch of `size` x `size` images with six to eight digits each; the last of several images has none."""
    digits = load_digits()
    scans = torch.from_numpy(digits.images).float() / 16  # [1797, 8, 8], 1 is full ink
    labels = torch.from_numpy(digits.target).long()  # [1797]

    num_gts = torch.randint(6, 9, (batch,), generator=generator)
    if batch > 1:
        num_gts[-1] = 0
    rows = int(num_gts.max())
    gt_boxes, gt_labels = torch.zeros(batch, rows, 4), torch.zeros(batch, rows, dtype=torch.long)
    images = torch.empty(batch, 3, size, size, dtype=torch.uint8)

    for b, count in enumerate(num_gts.tolist()):
        image = draw_canvas(size, generator)
        chosen = torch.randint(len(scans), (count,), generator=generator)
        gt_labels[b, :count] = labels[chosen]
        # From large to small, so that no digit vanishes under a later one.
        sides = 16 * (min(160, 0.4 * size) / 16) ** torch.rand(count, generator=generator).sort(descending=True).values
        for g, side in enumerate(sides.round().int().tolist()):
            left, top = draw_corner(gt_boxes[b, :g], side, size, generator)
            gt_boxes[b, g] = paste(image, scans[chosen[g]], left, top, side)
        images[b] = (image * 255).round().byte()
    return Scene(images, gt_boxes, gt_labels, num_gts)


def draw_canvas(size: int, generator: Generator) -> Tensor:
    """[3, S, S] float32 in 0..1: light or dark paper with a slope of brightness, grained and slightly tinted."""
    ramp = torch.linspace(-0.1, 0.1, size)
    slope_y, slope_x = torch.randn(2, generator=generator)
    light = torch.rand((), generator=generator) < 0.5
    grey = (0.72 if light else 0.28) + slope_y * ramp[:, None] + slope_x * ramp  # [S, S]
    for cells, strength in ((5, 0.05), (size // 16, 0.03), (size // 2, 0.02)):
        grains = torch.randn(1, 1, cells, cells, generator=generator)
        grey += strength * F.interpolate(grains, size=(size, size), mode="bicubic")[0, 0]
    tint = 1 + 0.06 * torch.randn(3, 1, 1, generator=generator)
    return (grey * tint).clamp(0, 1)


def draw_corner(earlier: Tensor, side: int, size: int, generator: Generator) -> tuple[int, int]:
    """Left and top for the digit that follows the `earlier` boxes [g, 4]: of every four digits, one is over the border
    and one is so close to its predecessor that the two compete for anchors."""
    spots = side / 2 + torch.rand(8, 2, generator=generator) * (size - side)  # [8, 2]
    turn = 2 * torch.pi * torch.rand((), generator=generator)
    axis, end = torch.randint(2, (2,), generator=generator).tolist()

    center = spots[0]
    if len(earlier) > 0:
        center = spots[torch.cdist(spots, earlier[:, :2]).amin(1).argmax()]
    if len(earlier) % 4 == 1:
        center = earlier[-1, :2] + 0.2 * torch.stack([turn.cos(), turn.sin()]) * earlier[-1, 2:]
    elif len(earlier) % 4 == 3:
        center[axis] = end * size
    left, top = (center - side / 2).clamp(-0.3 * side, size - 0.7 * side).int().tolist()
    return left, top


def paste(image: Tensor, scan: Tensor, left: int, top: int, side: int) -> Tensor:
    """Inks an 8 x 8 scan into image [3, S, S], in place, `side` pixels large, and returns its box.

    The box [4] is cxcywh, tight around the ink that can be seen and lies on the canvas.
    """
    smooth = F.interpolate(scan[None, None], size=(side, side), mode="bicubic")[0, 0]
    size = image.shape[-1]
    y, x = max(top, 0), max(left, 0)
    alpha = ((smooth - 0.35) * 4).clamp(0, 1)[y - top : size - top, x - left : size - left]  # [h, w]
    paper = image[:, y : y + alpha.shape[0], x : x + alpha.shape[1]]  # [3, h, w], a view
    ink = 0.08 if (paper * alpha).mean() > 0.5 * alpha.mean() else 0.95
    paper += alpha * (ink - paper)

    visible = alpha > 0.1
    (top, bottom), (left, right) = (visible.any(dim).nonzero()[[0, -1], 0].tolist() for dim in (1, 0))
    corners = torch.tensor([x + left, y + top, x + right + 1, y + bottom + 1], dtype=torch.float32)
    return torch.cat([(corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]])


def half_trained(scene: Scene, anchor_points: Tensor, strides: Tensor, generator: Generator) -> Predictions:
    """Predictions that know each digit, the better the nearer the anchor is and the better its level fits the size."""
    batch, anchors = len(scene.images), len(strides)
    pred_boxes = anchor_points.repeat(batch, 1, 2)  # [B, N, 4]
    pred_boxes[..., 2:] = strides[:, None] * torch.randn(batch, anchors, 2, generator=generator).exp()
    cls_logits = torch.randn(batch, anchors, CLASSES, generator=generator) - 4
    obj_logits = torch.randn(batch, anchors, generator=generator) - 4

    for b, count in enumerate(scene.num_gts.tolist()):
        if count == 0:
            continue
        gts = scene.gt_boxes[b, :count]  # [G, 4]
        reach = gts[:, None, 2:] / 2 + strides[:, None]  # [G, N, 2]
        distance = ((anchor_points - gts[:, None, :2]).abs() / reach).amax(-1)  # [G, N], 1 is out of sight
        sight = (1 - distance).clamp(min=0)
        # Where two digits are in sight, so are both classes, but only one box can be told.
        cls_logits[b] += 8 * sight.T @ F.one_hot(scene.gt_labels[b, :count], CLASSES).float()
        obj_logits[b] += 8 * sight.amax(0)

        near = (sight > 0).any(0).nonzero()[:, 0]  # [M]
        distance, owner = distance[:, near].min(0)  # [M] each
        center, shape = gts[owner].split(2, dim=-1)  # [M, 2] each
        misfit = (shape.prod(-1).sqrt() / (5 * strides[near])).log2().abs()  # [M], in octaves
        error = torch.randn(len(near), 4, generator=generator) * (0.05 + 0.2 * distance + 0.08 * misfit)[:, None]
        pred_boxes[b, near] = torch.cat([center + error[:, :2] * shape, shape * error[:, 2:].exp()], -1)
    return Predictions(pred_boxes, cls_logits, obj_logits)
