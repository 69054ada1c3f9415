"""SimOTA in plain Python, one image: the cost matrix, then the matching. Images do not influence each other."""

from collections.abc import Sequence

from python_ref.dynamic_k_match import dynamic_k_match
from python_ref.pairwise_iou import Box
from python_ref.simota_cost import Point, simota_cost


def simota(
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
    topk: int = 10,
    k_rounding: str = "down",
) -> tuple[list[int], list[float], int]:
    """matched_gt [N] with -1 for background, matched_iou [N], num_fg."""
    if not gt_boxes:
        return [-1] * len(pred_boxes), [0.0] * len(pred_boxes), 0
    cost, iou = simota_cost(
        pred_boxes,
        cls_logits,
        obj_logits,
        anchor_points,
        strides,
        gt_boxes,
        gt_labels,
        center_radius,
        candidates,
        outside_penalty,
        cls_weight,
        iou_weight,
        iou_eps,
    )
    return dynamic_k_match(cost, iou, topk, k_rounding)
