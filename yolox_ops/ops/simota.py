"""simota: SimOTA label assignment of a whole batch in one op."""

from typing import Any

import torch
from torch import Tensor

from yolox_ops._library import check_schema
from yolox_ops._transforms import traceable
from yolox_ops.assignment import Assignment
from yolox_ops.ops import simota_cost
from yolox_ops.ops.dynamic_k_match import check_dynamic_k
from yolox_ops.scene import Scene

check_schema(f"simota({simota_cost.SCHEMA}, int topk, str k_rounding) -> (Tensor, Tensor, Tensor)")


def check(*scene_and_rule: Any) -> None:
    """The arguments of the bare op."""
    simota_cost.check(*scene_and_rule[:-2])
    check_dynamic_k(*scene_and_rule[-2:])


@torch.library.register_fake("yolox_ops::simota")
def _(*scene_and_rule: Any) -> tuple[Tensor, Tensor, Tensor]:
    check(*scene_and_rule)
    pred_boxes = scene_and_rule[0]
    images, anchors = pred_boxes.shape[:2]
    return (
        pred_boxes.new_empty((images, anchors), dtype=torch.int64),
        pred_boxes.new_empty((images, anchors), dtype=torch.float32),
        pred_boxes.new_empty((images,), dtype=torch.int64),
    )


@traceable
def simota(
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor | None,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None = None,
    *,
    center_radius: float = 1.5,
    candidates: str = "center",
    outside_penalty: float = 1e6,
    cls_weight: float = 1.0,
    iou_weight: float = 3.0,
    iou_eps: float = 1e-8,
    topk: int = 10,
    k_rounding: str = "down",
) -> Assignment:
    """SimOTA (YOLOX, Ge et al. 2021, section 2.1; the defaults are the rule of Megvii's YOLOXHead.get_assignments).

    An anchor is a candidate if its centre lies strictly within r = center_radius strides of the centre of some ground
    truth of its image (cx - r < x < cx + r, as the dtype of the arithmetic rounds it). A pair costs
    cls_weight * sum over classes of BCE(sqrt(sigmoid(cls) sigmoid(obj)), one-hot) - iou_weight * log(IoU + iou_eps),
    and outside_penalty more if the anchor is outside the ground truth's own region.
    A ground truth takes its k cheapest candidates, k = max(1, int(sum of its topk largest IoUs with the image's
    candidates)); an anchor that several take goes to the ground truth of lowest cost, among all of the image.

    The first eight arguments are a yolox_ops.Scene: simota(*scene) is the same call.

    Args:
        pred_boxes: [B, N, 4], decoded boxes as centre x, centre y, width, height in pixels. All float tensors may be
            float32, float64, float16 or bfloat16, each its own; arithmetic is float32, float64 if pred_boxes is.
        cls_logits: [B, N, C], before the sigmoid; probabilities are not noticed and distort the costs.
        obj_logits: [B, N], likewise; None for a head without objectness, whose score is sigmoid(cls).
        anchor_points: [N, 2], centres of the anchors in pixels, (index + 0.5) * stride for YOLOX.
        strides: [N], in pixels. No centre region holds an anchor whose stride is not positive.
        gt_boxes: [B, G, 4], centre x, centre y, width, height in pixels, not corners. A width or height of 0 or less
            counts as 0: the box overlaps nothing and holds no anchor, but has its centre region.
        gt_labels: [B, G], any integer dtype, in [0, C).
        num_gts: [B], any integer dtype: rows of an image at or past it are padding, whatever they hold. None: all G are
            real, rows of zeros as well.
        center_radius: in strides; in pixels for candidates="all".
        candidates: "center", or "box_or_center" (Megvii 0.3, mmdetection): a candidate lies in a box or its centre
            region, and is unpenalised in both; or "all": every anchor is a candidate, unpenalised where its centre is
            no further than center_radius pixels from that of the ground truth.
        outside_penalty: what a pair outside the region pays, at most 1e9. It is added in float64, where costs 1e-9
            apart stay apart at 1e6. The default exceeds any cost of up to 9999 classes.
        cls_weight, iou_weight: at most 1e6. iou_eps: 1e-30 to 1.
        topk: largest IoUs that k is estimated from.
        k_rounding: "down" as above, or "nearest": k is their sum to the nearest integer, half to even, and may be 0.

    Returns:
        Assignment(matched_gt [B, N] int64, matched_iou [B, N] float32, num_fg [B] int64), with .fg_mask. An image
        without ground truths or candidates is all background. Equal costs go to the lower anchor, then to the lower
        ground truth. A NaN cost is the worst cost and a NaN IoU counts 0. No gradient.

    Raises:
        ValueError: a shape, device or parameter does not fit; on the CPU also a label outside [0, C), a NaN or an
        infinite number in a ground truth, as the dtype of the arithmetic reads it (each named by image and row), or a
        num_gts outside [0, G]. TypeError: a dtype does not fit. On a GPU, where looking would make the host wait, such
        a ground truth is absent and num_gts is clamped.
    """
    scene = Scene(pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts)
    rule = (center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps, topk, k_rounding)
    check(*scene, *rule)
    return Assignment(*torch.ops.yolox_ops.simota(*scene.detach(), *rule))
