"""Similarity of boxes in plain Python. IoU and GIoU: Rezatofighi et al. 2019, algorithm 1; DIoU and CIoU: Zheng et al.
2020, eqs. 7 and 10 to 12. A box is a sequence of four floats."""

import math
from collections.abc import Sequence

Box = Sequence[float]


def corners(box: Box, fmt: str) -> tuple[float, float, float, float]:
    a, b, c, d = box
    if fmt == "xyxy":
        return a, b, c, d
    if fmt == "xywh":
        return a, b, a + c, b + d
    return a - c / 2, b - d / 2, a + c / 2, b + d / 2


def area(box: Box, fmt: str) -> float:
    a, b, c, d = box
    return (c - a) * (d - b) if fmt == "xyxy" else c * d


def ratio(a: float, b: float) -> float:
    """a / b, where division by 0 gives 0."""
    return a / b if b else 0.0


def similarity(box1: Box, box2: Box, fmt: str = "xyxy", kind: str = "iou", alpha: float | None = None) -> float:
    """One entry of the matrix. `alpha` freezes CIoU's weight, for finite differences."""
    ax1, ay1, ax2, ay2 = corners(box1, fmt)
    bx1, by1, bx2, by2 = corners(box2, fmt)
    if any(math.isnan(x) for x in (ax1, ay1, ax2, ay2, bx1, by1, bx2, by2)):
        return math.nan

    width = min(ax2, bx2) - max(ax1, bx1)
    height = min(ay2, by2) - max(ay1, by1)
    inter = width * height if width > 0 and height > 0 else 0.0
    union = area(box1, fmt) + area(box2, fmt) - inter
    if math.isnan(union):  # of infinite boxes
        return math.nan
    union = max(union, inter)  # also where the corners of a tiny box far from 0 are rounded
    iou = inter / union if inter > 0 else 0.0
    if kind == "iou":
        return iou

    hull_w = max(ax2, bx2) - min(ax1, bx1)
    hull_h = max(ay2, by2) - min(ay1, by1)
    if kind == "giou":
        hull = hull_w * hull_h
        return iou - ratio(hull - union, hull)

    dx = (ax1 + ax2) / 2 - (bx1 + bx2) / 2
    dy = (ay1 + ay2) / 2 - (by1 + by2) / 2
    diou = iou - ratio(dx * dx + dy * dy, hull_w * hull_w + hull_h * hull_h)
    if kind == "diou":
        return diou

    turn = math.atan2(bx2 - bx1, by2 - by1) - math.atan2(ax2 - ax1, ay2 - ay1)
    v = 4 / math.pi**2 * turn**2
    if alpha is None:
        alpha = ratio(v, 1 - iou + v)
    return diou - alpha * v


def pairwise_iou(
    boxes1: Sequence[Box],  # [M]
    boxes2: Sequence[Box],  # [N]
    fmt: str = "xyxy",
    kind: str = "iou",
) -> list[list[float]]:
    """[M, N]."""
    return [[similarity(box1, box2, fmt, kind) for box2 in boxes2] for box1 in boxes1]
