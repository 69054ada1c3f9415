"""ota: label assignment by optimal transport, of a whole batch in one op."""

from typing import Any

import torch
from torch import Tensor

from yolox_ops._arguments import check_between, check_count, check_positive
from yolox_ops._library import check_schema
from yolox_ops._transforms import traceable
from yolox_ops.assignment import Assignment
from yolox_ops.ops.sinkhorn import check_iteration
from yolox_ops.scene import SCENE_SCHEMA, Scene

check_schema(
    f"ota({SCENE_SCHEMA}, float center_radius, int topk, float iou_weight, float epsilon, int iterations, "
    "float tolerance, float focal_alpha, float focal_gamma) -> (Tensor, Tensor, Tensor)"
)


def check(*scene_and_rule: Any) -> None:
    """The arguments of the bare op. The bounds keep a penalty of 1e6 out of reach of everything else."""
    Scene(*scene_and_rule[:8]).check()
    center_radius, topk, iou_weight, epsilon, iterations, tolerance, focal_alpha, focal_gamma = scene_and_rule[8:]
    check_positive("center_radius", center_radius)
    check_count("topk", topk, 1)
    check_between("iou_weight", iou_weight, 0, 1e3)
    check_between("epsilon", epsilon, 1e-3, 100)
    check_iteration(epsilon, iterations, tolerance)
    check_between("iterations", iterations, 1, 1000)
    check_between("focal_alpha", focal_alpha, 0, 1)
    check_between("focal_gamma", focal_gamma, 0, 100)


@torch.library.register_fake("yolox_ops::ota")
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
def ota(
    pred_boxes: Tensor,
    cls_logits: Tensor,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None = None,
    *,
    obj_logits: Tensor | None = None,
    center_radius: float = 2.5,
    topk: int = 20,
    iou_weight: float = 1.5,
    epsilon: float = 0.1,
    iterations: int = 50,
    tolerance: float = 0.0,
    focal_alpha: float = 0.25,
    focal_gamma: float = 2.0,
) -> Assignment:
    """OTA (Ge et al. 2021, Optimal Transport Assignment; the rule and its numbers are those of Megvii's code).

    obj_logits is a keyword, as OTA's own detector has none; yolox_ops.yolox.assigners.ota has simota's order.

    Ground truths supply positive labels and a background supplies the rest; each anchor demands one. A ground truth
    supplies k = max(1, int(sum of the topk largest IoUs within its own region)), which is where an anchor's centre lies
    more than 0.01 pixels inside the box and strictly within center_radius strides of its centre; the background
    supplies N minus their sum, at least 0. A pair costs the focal loss of the anchor for the label, summed over
    classes, - iou_weight * log(max(IoU, 2^-23)), and 1e6 more outside the region; background costs the focal loss for
    no label. The plan is `sinkhorn`'s. Every row of it is divided by its largest element, and an anchor goes to the row
    where it has most: to the lower row if equal, to the background last.

    The 1e6 leaves a pair without mass unless its ground truth has no other; only then is a pair outside looked at. What
    the pairs of an anchor share, the sum over classes, cancels in the plan, and is never computed.

    Args:
        pred_boxes: [B, N, 4], decoded boxes as centre x, centre y, width, height in pixels. All float tensors may be
            float32, float64, float16 or bfloat16, each its own; arithmetic is float32, float64 if pred_boxes is.
        cls_logits: [B, N, C], before the sigmoid.
        anchor_points: [N, 2], centres of the anchors in pixels, (index + 0.5) * stride for YOLOX.
        strides: [N], in pixels. No region holds an anchor whose stride is not positive.
        gt_boxes: [B, G, 4], centre x, centre y, width, height in pixels, not corners. A width or height of 0 or less
            counts as 0: the box overlaps nothing and has no region.
        gt_labels: [B, G], any integer dtype, in [0, C).
        num_gts: [B], any integer dtype: rows of an image at or past it are padding. None: all G are real, also rows of
            zeros, which have no region and would take anchors anywhere.
        obj_logits: [B, N]; given, the score is sqrt(sigmoid(cls) sigmoid(obj)), as in simota, else sigmoid(cls).
        center_radius: in strides. topk: largest IoUs that k is estimated from. iou_weight: at most 1000.
        epsilon, iterations, tolerance: of `sinkhorn`; epsilon 0.001 to 100, at most 1000 iterations.
        focal_alpha, focal_gamma: of the focal loss (Lin et al. 2017); 0 to 1, and 0 to 100. Its logarithms are clamped
            at -100.

    Returns:
        Assignment(matched_gt [B, N] int64, matched_iou [B, N] float32, num_fg [B] int64), with .fg_mask. An image
        without ground truths is all background. A pair with a NaN in the box, the objectness or the label's logit
        of its prediction has no mass, a NaN IoU counts 0, and a ground truth without any other pair supplies nothing.
        A ground truth may end without an anchor. Devices round differently: where two shares are nearly equal they may
        choose differently. No gradient.

    Raises: as simota; ValueError also for a number outside the bounds above.
    """
    scene = Scene(pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts)
    rule = (center_radius, topk, iou_weight, epsilon, iterations, tolerance, focal_alpha, focal_gamma)
    check(*scene, *rule)
    return Assignment(*torch.ops.yolox_ops.ota(*scene.detach(), *rule))
