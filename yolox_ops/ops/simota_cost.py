"""simota_cost: SimOTA's cost of every pair of ground truth and anchor, written out."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from yolox_ops._arguments import check_between, check_choice, check_positive
from yolox_ops._check import wide_dtype
from yolox_ops._library import check_schema
from yolox_ops._transforms import as_pytree, traceable
from yolox_ops.scene import SCENE_SCHEMA, Scene

SCHEMA = (
    f"{SCENE_SCHEMA}, float center_radius, str candidates, float outside_penalty, float cls_weight, float iou_weight, "
    "float iou_eps"
)
check_schema(f"simota_cost({SCHEMA}) -> (Tensor, Tensor)")


@as_pytree
class SimOTACost(NamedTuple):
    """Both [B, G, N]. cost is float64, so that adding a penalty of 1e6 hides nothing of the cost below it; it is +inf
    where the anchor is no candidate of the image and for padded ground truths. iou is 0 there and where it is NaN."""

    cost: Tensor
    iou: Tensor


def check_rule(
    center_radius: float,
    candidates: str,
    outside_penalty: float,
    cls_weight: float,
    iou_weight: float,
    iou_eps: float,
) -> None:
    """The options that simota_cost and simota share."""
    check_positive("center_radius", center_radius)
    check_choice("candidates", candidates, ("center", "box_or_center", "all"))
    check_between("outside_penalty", outside_penalty, 0, 1e9)
    check_between("cls_weight", cls_weight, 0, 1e6)
    check_between("iou_weight", iou_weight, 0, 1e6)
    check_between("iou_eps", iou_eps, 1e-30, 1)


def check(*scene_and_rule: Any) -> None:
    """The arguments of the bare op, the eight of a scene and then the rule's, as all pages of assigners take them."""
    Scene(*scene_and_rule[:8]).check()
    check_rule(*scene_and_rule[8:])


@torch.library.register_fake("yolox_ops::simota_cost")
def _(*scene_and_rule: Any) -> tuple[Tensor, Tensor]:
    check(*scene_and_rule)
    scene = Scene(*scene_and_rule[:8])
    pred_boxes = scene.pred_boxes
    shape = (pred_boxes.shape[0], scene.gt_boxes.shape[1], pred_boxes.shape[1])
    return pred_boxes.new_empty(shape, dtype=torch.float64), pred_boxes.new_empty(shape, dtype=wide_dtype(pred_boxes))


@traceable
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
    scene = Scene(pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts)
    rule = (center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps)
    check(*scene, *rule)
    return SimOTACost(*torch.ops.yolox_ops.simota_cost(*scene.detach(), *rule))
