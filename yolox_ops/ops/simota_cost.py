"""simota_cost: SimOTA's cost of every pair of ground truth and anchor, written out."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from yolox_ops._arguments import check_between, check_choice, check_positive, check_shape
from yolox_ops._check import check_float, check_integer, check_same_device, wide_dtype

SCENE_SCHEMA = (
    "Tensor pred_boxes, Tensor cls_logits, Tensor? obj_logits, Tensor anchor_points, Tensor strides, Tensor gt_boxes, "
    "Tensor gt_labels, Tensor? num_gts, float center_radius, str candidates, float outside_penalty, float cls_weight, "
    "float iou_weight, float iou_eps"
)
torch.library.define("yolox_ops::simota_cost", f"({SCENE_SCHEMA}) -> (Tensor, Tensor)")


class SimOTACost(NamedTuple):
    """Both [B, G, N]. cost is float64, so that adding a penalty of 1e6 hides nothing of the cost below it; it is +inf
    where the anchor is no candidate of the image and for padded ground truths. iou is 0 there and where it is NaN."""

    cost: Tensor
    iou: Tensor


def check_scene_tensors(
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor | None,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None,
) -> None:
    """What an assigner and the loss ask of the scene. What the values of tensors must obey the CPU kernels check."""
    check_float("pred_boxes", pred_boxes)
    check_shape("pred_boxes", pred_boxes, "[B, N, 4]", (None, None, 4))
    images, anchors = pred_boxes.shape[:2]
    check_float("cls_logits", cls_logits)
    check_shape("cls_logits", cls_logits, "[B, N, C]", (images, anchors, None))
    if obj_logits is not None:
        check_float("obj_logits", obj_logits)
        check_shape("obj_logits", obj_logits, "[B, N]", (images, anchors))
    check_float("anchor_points", anchor_points)
    check_shape("anchor_points", anchor_points, "[N, 2]", (anchors, 2))
    check_float("strides", strides)
    check_shape("strides", strides, "[N]", (anchors,))
    check_float("gt_boxes", gt_boxes)
    check_shape("gt_boxes", gt_boxes, "[B, G, 4]", (images, None, 4))
    check_integer("gt_labels", gt_labels)
    check_shape("gt_labels", gt_labels, "[B, G]", (images, gt_boxes.shape[1]))
    if num_gts is not None:
        check_integer("num_gts", num_gts)
        check_shape("num_gts", num_gts, "[B]", (images,))
    check_same_device(
        "pred_boxes",
        pred_boxes,
        cls_logits=cls_logits,
        obj_logits=obj_logits,
        anchor_points=anchor_points,
        strides=strides,
        gt_boxes=gt_boxes,
        gt_labels=gt_labels,
        num_gts=num_gts,
    )


def check_scene(
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor | None,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None,
    center_radius: float,
    candidates: str,
    outside_penalty: float,
    cls_weight: float,
    iou_weight: float,
    iou_eps: float,
) -> None:
    """The checks that simota_cost and simota share."""
    check_scene_tensors(pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts)
    check_positive("center_radius", center_radius)
    check_choice("candidates", candidates, ("center", "box_or_center", "all"))
    check_between("outside_penalty", outside_penalty, 0, 1e9)
    check_between("cls_weight", cls_weight, 0, 1e6)
    check_between("iou_weight", iou_weight, 0, 1e6)
    check_between("iou_eps", iou_eps, 1e-30, 1)


@torch.library.register_fake("yolox_ops::simota_cost")
def _(
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor | None,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    *rest: Any,
) -> tuple[Tensor, Tensor]:
    check_scene(pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, *rest)
    shape = (pred_boxes.shape[0], gt_boxes.shape[1], pred_boxes.shape[1])
    return pred_boxes.new_empty(shape, dtype=torch.float64), pred_boxes.new_empty(shape, dtype=wide_dtype(pred_boxes))


def simota_cost(
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
) -> SimOTACost:
    """SimOTA's cost matrix and the IoU that goes with it, to look at or to match by a rule of one's own.

    dynamic_k_match(*simota_cost(...), num_gts) equals simota(...), which needs neither matrix.

    Args: as for simota.

    Returns:
        SimOTACost(cost [B, G, N] float64, iou [B, G, N] float32, or float64 for float64 predictions).

    Raises: as simota.
    """
    tensors = (pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts)
    rule = (center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps)
    check_scene(*tensors, *rule)
    detached = (None if t is None else t.detach() for t in tensors)
    return SimOTACost(*torch.ops.yolox_ops.simota_cost(*detached, *rule))
