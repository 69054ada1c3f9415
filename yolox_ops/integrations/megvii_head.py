"""The methods of Megvii's YOLOXHead, computed by yolox_ops; megvii.py puts them into a head."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from yolox_ops._arguments import check_shape
from yolox_ops._check import check_tensor
from yolox_ops.ops.simota import simota
from yolox_ops.presets import PRESETS
from yolox_ops.scene import Scene
from yolox_ops.yolox.loss import yolox_loss


def scene(
    x_shifts: list[Tensor], y_shifts: list[Tensor], expanded_strides: list[Tensor], labels: Tensor, outputs: Tensor
) -> Scene:
    """What simota, yolox_loss and explain take, from what a head gives to its get_losses. Anchors and boxes to learn
    are float32; the predictions may be halves, of which the ops compute in float32.

    Args:
        x_shifts, y_shifts, expanded_strides: per level [1, n], cells and pixels.
        labels: [B, M, 5 or more], any float or integer dtype: class, centre x, centre y, width, height in pixels, and
            what is not looked at. A row whose box is zeros is padding, wherever it stands; any other counts. The head's
            own code takes as many first rows as have a positive sum, of all columns.
        outputs: [B, N, 5 + C], decoded boxes, objectness and class logits.

    Raises:
        ValueError: labels has another shape. TypeError: it is no tensor, or of bools or complex numbers.
    """
    check_tensor("labels", labels)
    check_shape("labels", labels, "[B, M, 5 or more]", (outputs.shape[0], None, max((5, *labels.shape[-1:]))))
    if labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be a float or integer tensor, got {labels.dtype}")
    rows = labels[..., :5].float()
    real = (rows[..., 1:] != 0).any(-1)
    # Real rows first, in their order: a count per image is then all that there is to say.
    packed = rows.gather(1, (~real).byte().argsort(dim=1, stable=True)[..., None].expand_as(rows))
    return Scene(
        outputs[..., :4],
        outputs[..., 5:],
        outputs[..., 4],
        *_anchors(*(torch.cat(levels, 1) for levels in (x_shifts, y_shifts, expanded_strides))),
        packed[..., 1:],
        packed[..., 0].long(),
        real.sum(1),
    )


def _anchors(x_shifts: Tensor, y_shifts: Tensor, expanded_strides: Tensor) -> tuple[Tensor, Tensor]:
    """anchor_points [N, 2] and strides [N], both float32, of three [1, N]."""
    strides = expanded_strides[0].float()
    return (torch.stack([x_shifts[0], y_shifts[0]], -1).float() + 0.5) * strides[:, None], strides


def get_losses(
    self: Any,
    imgs: Any,
    x_shifts: list[Tensor],
    y_shifts: list[Tensor],
    expanded_strides: list[Tensor],
    labels: Tensor,
    outputs: Tensor,
    origin_preds: list[Tensor],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | float, Tensor]:
    """YOLOXHead.get_losses: (total, 5 * box, obj, cls, l1, positives per object). All are float32 scalars on the device
    of the predictions, the last too, which is a number of Python there; l1 is 0.0 unless self.use_l1."""
    inputs = scene(x_shifts, y_shifts, expanded_strides, labels, outputs)
    if labels.dtype in (torch.float16, torch.bfloat16):
        warnings.warn(f"labels arrive as {labels.dtype}, which rounds them: pass float32", stacklevel=2)
    rule = PRESETS[rule_name(self)]
    loss = yolox_loss(
        *inputs,  # type: ignore[arg-type]  # which has objectness
        raw_boxes=torch.cat(origin_preds, 1) if self.use_l1 else None,
        box_loss=self.iou_loss.loss_type,
        all_ranks=False,
        assigner=functools.partial(simota, **rule),
    )
    assert inputs.num_gts is not None  # scene counts them
    ratio = loss.num_fg.sum().clamp(min=1) / inputs.num_gts.sum().clamp(min=1)
    return loss.total, 5 * loss.box, loss.obj, loss.cls, loss.l1 if self.use_l1 else 0.0, ratio


def get_assignments(
    batch_idx: int,
    num_gt: int,
    gt_bboxes_per_image: Tensor,
    gt_classes: Tensor,
    bboxes_preds_per_image: Tensor,
    expanded_strides: Tensor,
    x_shifts: Tensor,
    y_shifts: Tensor,
    cls_preds: Tensor,
    obj_preds: Tensor,
    mode: str = "gpu",
    *,
    rule: str = "yolox",
) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """YOLOXHead.get_assignments of one image, for code that calls it directly. It waits for the device, as its returns
    have sizes that depend on data; whoever can should call yolox_ops.simota with the whole batch.

    Args:
        batch_idx: the image, in cls_preds and obj_preds.
        num_gt: number of ground truths.
        gt_bboxes_per_image: [num_gt, 4], centre x, centre y, width, height in pixels. gt_classes: [num_gt]. Either may
            be of floats or integers.
        bboxes_preds_per_image: [N, 4], likewise, decoded.
        expanded_strides, x_shifts, y_shifts: [1, N], pixels and cells.
        cls_preds: [B, N, C] and obj_preds: [B, N, 1], logits.
        mode: where the head's own code runs after it ran out of memory; nothing here needs it.
        rule: a name of yolox_ops.PRESETS.

    Returns:
        (gt_matched_classes [F] float32, fg_mask [N] bool, pred_ious_this_matching [F] float32, matched_gt_inds [F]
        int64, num_fg), the positives in ascending order of their anchors.
    """
    gts = gt_bboxes_per_image[None, :num_gt]
    assignment = simota(
        bboxes_preds_per_image[None],
        cls_preds[batch_idx][None],
        obj_preds[batch_idx][None, :, 0],
        *_anchors(x_shifts, y_shifts, expanded_strides),
        gts if gts.is_floating_point() else gts.float(),
        gt_classes[None, :num_gt].long(),
        **PRESETS[rule],
    )
    fg_mask = assignment.fg_mask[0]
    matched = assignment.matched_gt[0, fg_mask]
    return gt_classes[matched].float(), fg_mask, assignment.matched_iou[0, fg_mask], matched, len(matched)


def _get_assignments_of_release(
    batch_idx: int,
    num_gt: int,
    total_num_anchors: int,
    gt_bboxes_per_image: Tensor,
    gt_classes: Tensor,
    bboxes_preds_per_image: Tensor,
    expanded_strides: Tensor,
    x_shifts: Tensor,
    y_shifts: Tensor,
    cls_preds: Tensor,
    bbox_preds: Tensor,
    obj_preds: Tensor,
    labels: Tensor,
    imgs: Tensor,
    mode: str = "gpu",
) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """The same with the longer signature and the rule of releases 0.1 to 0.3."""
    gts, anchors = (gt_bboxes_per_image, gt_classes), (expanded_strides, x_shifts, y_shifts)
    preds = (bboxes_preds_per_image, *anchors, cls_preds, obj_preds)
    return get_assignments(batch_idx, num_gt, *gts, *preds, mode, rule="yolox-0.3")


# By the name of the rule.
SIGNATURES: dict[str, Callable[..., Any]] = {"yolox": get_assignments, "yolox-0.3": _get_assignments_of_release}


def rule_name(head: Any) -> str:
    """The preset of the head's rule, by the name of the method that has its geometry."""
    return "yolox" if hasattr(head, "get_geometry_constraint") else "yolox-0.3"
