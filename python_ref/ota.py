"""OTA in plain Python, one image: Ge et al. 2021 (Optimal Transport Assignment), with the numbers of Megvii's code.
Every cost is written out. Boxes are centre x, centre y, width, height."""

import math
from collections.abc import Sequence
from typing import Any

from python_ref.dynamic_k_match import Matrix, dynamic_k, sum_largest
from python_ref.pairwise_iou import Box, corners, similarity
from python_ref.simota_cost import Point, binary_cross_entropy, in_center, log_score
from python_ref.sinkhorn import sinkhorn

PENALTY = 1e6
LEAST_IOU = 2.0**-23  # float32's epsilon


def focal_loss(log_p: float, target: int, alpha: float, gamma: float) -> float:
    """Lin et al. 2017, eq. 5, of the probability p."""
    entropy = binary_cross_entropy(log_p, target)
    weight = alpha if target else 1 - alpha
    missed = -math.expm1(log_p) if target else math.exp(log_p)
    return weight * missed**gamma * entropy


def in_region(point: Point, stride: float, gt: Box, radius: float) -> bool:
    """More than 0.01 pixels inside the box, and in its centre region."""
    x1, y1, x2, y2 = corners(gt, "cxcywh")
    inner = min(point[0] - x1, point[1] - y1, x2 - point[0], y2 - point[1])
    return inner > 0.01 and in_center(point, stride, gt, radius)


def ota_problem(
    pred_boxes: Sequence[Box],  # [N]
    cls_logits: Sequence[Sequence[float]],  # [N, C]
    obj_logits: Sequence[float] | None,  # [N]
    anchor_points: Sequence[Point],  # [N]
    strides: Sequence[float],  # [N]
    gt_boxes: Sequence[Box],  # [G]
    gt_labels: Sequence[int],  # [G]
    center_radius: float = 2.5,
    topk: int = 20,
    iou_weight: float = 1.5,
    focal_alpha: float = 0.25,
    focal_gamma: float = 2.0,
) -> tuple[list[list[float]], list[float], list[list[float]]]:
    """cost [G + 1, N], with background as the last row; sums of IoUs, from which supplies come [G]; iou [G, N]."""
    G, N = len(gt_boxes), len(pred_boxes)
    cost = [[math.inf] * N for _ in range(G + 1)]
    iou = [[0.0] * N for _ in range(G)]
    inside = [[False] * N for _ in range(G)]
    for j in range(N):
        obj = None if obj_logits is None else obj_logits[j]
        scores = [log_score(logit, obj) for logit in cls_logits[j]]
        negative = [focal_loss(p, 0, focal_alpha, focal_gamma) for p in scores]
        # A NaN is a matter of the pairs of its own class.
        known = [0.0 if math.isnan(loss) else loss for loss in negative]
        cost[G][j] = sum(known)
        for i, (gt, label) in enumerate(zip(gt_boxes, gt_labels, strict=True)):
            overlap = similarity(gt, pred_boxes[j], "cxcywh")
            positive = focal_loss(scores[label], 1, focal_alpha, focal_gamma)
            pair = sum(known[:label]) + positive + sum(known[label + 1 :])
            pair -= iou_weight * math.log(max(overlap, LEAST_IOU)) if overlap == overlap else math.nan
            inside[i][j] = in_region(anchor_points[j], strides[j], gt, center_radius)
            cost[i][j] = math.inf if math.isnan(pair) else pair + (0.0 if inside[i][j] else PENALTY)
            iou[i][j] = 0.0 if math.isnan(overlap) else overlap
    totals = [sum_largest([iou[i][j] for j in range(N) if inside[i][j]], topk) for i in range(G)]
    return cost, totals, iou


def ota_supply(
    cost: Matrix,  # [G + 1, N]
    totals: Sequence[float],  # [G]
) -> list[float]:
    """[G + 1]: dynamic k of every ground truth that can have mass, and what is left."""
    able = [any(c != math.inf for c in row) for row in cost[:-1]]
    k = [float(dynamic_k(total, "down")) if a else 0.0 for total, a in zip(totals, able, strict=True)]
    return [*k, max(0.0, len(cost[-1]) - sum(k))]


def shares(
    plan: Matrix,  # [G + 1, N]
) -> list[list[float]]:
    """Every row divided by its largest element."""
    largest = [max(row) for row in plan]
    return [[mass / most if most > 0 else 0.0 for mass in row] for row, most in zip(plan, largest, strict=True)]


def decode(
    plan: Matrix,  # [G + 1, N]
) -> list[int]:
    """[N], the row where each anchor has the largest share; -1 for the last row."""
    share = shares(plan)
    best = [max(range(len(plan)), key=lambda i: share[i][j]) for j in range(len(plan[0]))]
    return [-1 if i == len(plan) - 1 else i for i in best]


def ota(
    *image: Any,
    center_radius: float = 2.5,
    topk: int = 20,
    iou_weight: float = 1.5,
    epsilon: float = 0.1,
    iterations: int = 50,
    tolerance: float = 0.0,
    focal_alpha: float = 0.25,
    focal_gamma: float = 2.0,
) -> tuple[list[int], list[float], int]:
    """The image is that of ota_problem. matched_gt [N] with -1 for background, matched_iou [N], num_fg."""
    rule = (center_radius, topk, iou_weight, focal_alpha, focal_gamma)
    cost, totals, iou = ota_problem(*(*image, *rule))
    N = len(cost[-1])
    if N == 0:
        return [], [], 0
    plan = sinkhorn(cost, ota_supply(cost, totals), [1.0] * N, epsilon, iterations, tolerance)
    matched_gt = decode(plan)
    matched_iou = [0.0 if i < 0 else iou[i][j] for j, i in enumerate(matched_gt)]
    return matched_gt, matched_iou, sum(i >= 0 for i in matched_gt)
