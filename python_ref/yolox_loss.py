"""The loss of YOLOX in plain Python, given an assignment: Megvii's YOLOXHead.get_losses, and its two variants."""

import math
from collections.abc import Sequence

from python_ref.pairwise_iou import Box, similarity
from python_ref.simota_cost import Point


def binary_cross_entropy(logit: float, target: float) -> float:
    """-t log p - (1 - t) log(1 - p), p = sigmoid(logit)."""
    log_p = -math.log1p(math.exp(-logit)) if logit > 0 else logit - math.log1p(math.exp(logit))
    return -target * log_p - (1 - target) * (log_p - logit)


def l1_target(gt: Box, point: Point, stride: float) -> Box:
    """What the head's raw output for this anchor would be if its box were the ground truth."""
    return (
        gt[0] / stride - (point[0] / stride - 0.5),
        gt[1] / stride - (point[1] / stride - 0.5),
        math.log(gt[2] / stride + 1e-8),
        math.log(gt[3] / stride + 1e-8),
    )


def objectness_target(pred: Box, gt_boxes: Sequence[Box], matched: int, iou: float, kind: str) -> float:
    if kind == "binary":
        return 1.0 if matched >= 0 else 0.0
    return iou if matched >= 0 else max((similarity(pred, gt, "cxcywh") for gt in gt_boxes), default=0.0)


def yolox_loss(
    pred_boxes: Sequence[Sequence[Box]],  # [B, N]
    cls_logits: Sequence[Sequence[Sequence[float]]],  # [B, N, C]
    obj_logits: Sequence[Sequence[float]],  # [B, N]
    anchor_points: Sequence[Point],  # [N]
    strides: Sequence[float],  # [N]
    gt_boxes: Sequence[Sequence[Box]],  # [B, G], without padding
    gt_labels: Sequence[Sequence[int]],  # [B, G]
    matched_gt: Sequence[Sequence[int]],  # [B, N], -1 for background
    matched_iou: Sequence[Sequence[float]],  # [B, N]
    raw_boxes: Sequence[Sequence[Box]] | None = None,  # [B, N]
    reg_weight: float = 5.0,
    box_loss: str = "iou",
    objectness: str = "binary",
) -> tuple[float, float, float, float, float]:
    """total, box, obj, cls, l1."""
    box = obj = cls = l1 = 0.0
    for b, preds in enumerate(pred_boxes):
        for n, pred in enumerate(preds):
            g, iou = matched_gt[b][n], matched_iou[b][n]
            target = objectness_target(pred, gt_boxes[b], g, iou, objectness)
            obj += binary_cross_entropy(obj_logits[b][n], target)
            if g < 0:
                continue
            x, y, width, height = gt_boxes[b][g]
            gt = (x, y, max(width, 0.0), max(height, 0.0))
            overlap = similarity(pred, gt, "cxcywh", box_loss)
            box += 1 - overlap**2 if box_loss == "iou" else 1 - overlap
            for c, logit in enumerate(cls_logits[b][n]):
                cls += binary_cross_entropy(logit, iou if c == gt_labels[b][g] else 0.0)
            if raw_boxes is not None:
                wanted = l1_target(gt, anchor_points[n], strides[n])
                l1 += sum(abs(r - w) for r, w in zip(raw_boxes[b][n], wanted, strict=True))
    positives = max(sum(g >= 0 for row in matched_gt for g in row), 1)
    box, obj, cls, l1 = box / positives, obj / positives, cls / positives, l1 / positives
    return reg_weight * box + obj + cls + l1, box, obj, cls, l1
