"""SimOTA's cost matrix in plain Python, one image: Ge et al. 2021 (YOLOX), section 2.1 and eq. 1, with the constants of
Megvii's YOLOXHead.get_assignments. Boxes are centre x, centre y, width, height."""

import math
from collections.abc import Sequence

from python_ref.pairwise_iou import Box, corners, similarity

Point = Sequence[float]


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x > -700 else x


def log_score(cls_logit: float, obj_logit: float | None) -> float:
    """log p, p = sqrt(sigmoid(cls) sigmoid(obj)); without objectness p = sigmoid(cls)."""
    if obj_logit is None:
        return log_sigmoid(cls_logit)
    return (log_sigmoid(cls_logit) + log_sigmoid(obj_logit)) / 2


def binary_cross_entropy(log_p: float, target: int) -> float:
    """-log p or -log(1 - p), the logarithm clamped at -100 as in PyTorch."""
    if math.isnan(log_p):
        return math.nan
    if target:
        return -max(log_p, -100.0)
    rest = -math.expm1(log_p)  # 1 - p, with its digits where p is close to 1
    return -max(math.log(rest), -100.0) if rest > 0 else 100.0


def class_cost(
    cls_logits: Sequence[float],  # [C]
    obj_logit: float | None,
    label: int,
) -> float:
    return sum(binary_cross_entropy(log_score(logit, obj_logit), int(c == label)) for c, logit in enumerate(cls_logits))


def in_center(point: Point, stride: float, gt: Box, radius: float) -> bool:
    """Strictly within `radius` strides of the centre of the ground truth, in x and in y."""
    reach = radius * stride
    return gt[0] - reach < point[0] < gt[0] + reach and gt[1] - reach < point[1] < gt[1] + reach


def in_box(point: Point, gt: Box) -> bool:
    x1, y1, x2, y2 = corners(gt, "cxcywh")
    return x1 < point[0] < x2 and y1 < point[1] < y2


def classify_anchor(point: Point, stride: float, gt: Box, radius: float, candidates: str) -> tuple[bool, bool]:
    """Whether the anchor is a candidate because of this ground truth, and whether it is inside: free of the penalty."""
    if candidates == "all":
        distance = math.hypot(point[0] - gt[0], point[1] - gt[1])
        return not math.isnan(distance), distance <= radius
    center = in_center(point, stride, gt, radius)
    if candidates == "center":
        return center, center
    box = in_box(point, gt)
    return center or box, center and box


def simota_cost(
    pred_boxes: Sequence[Box],  # [N]
    cls_logits: Sequence[Sequence[float]],  # [N, C]
    obj_logits: Sequence[float] | None,  # [N]
    anchor_points: Sequence[Point],  # [N]
    strides: Sequence[float],  # [N]
    gt_boxes: Sequence[Box],  # [G]
    gt_labels: Sequence[int],  # [G]
    center_radius: float = 1.5,
    candidates: str = "center",
    outside_penalty: float = 1e6,
    cls_weight: float = 1.0,
    iou_weight: float = 3.0,
    iou_eps: float = 1e-8,
) -> tuple[list[list[float]], list[list[float]]]:
    """cost [G, N], +inf where the anchor is no candidate of the image, and iou [G, N], 0 there and where it is NaN."""
    G, N = len(gt_boxes), len(pred_boxes)
    cost = [[math.inf] * N for _ in range(G)]
    iou = [[0.0] * N for _ in range(G)]
    for j in range(N):
        regions = [classify_anchor(anchor_points[j], strides[j], gt, center_radius, candidates) for gt in gt_boxes]
        if not any(candidate for candidate, _ in regions):
            continue
        for i in range(G):
            overlap = similarity(gt_boxes[i], pred_boxes[j], "cxcywh")
            obj = None if obj_logits is None else obj_logits[j]
            cost[i][j] = cls_weight * class_cost(cls_logits[j], obj, gt_labels[i])
            cost[i][j] -= iou_weight * math.log(overlap + iou_eps)
            _, inside = regions[i]
            cost[i][j] += 0.0 if inside else outside_penalty
            iou[i][j] = 0.0 if math.isnan(overlap) else overlap
    return cost, iou
