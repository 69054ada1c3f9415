"""Megvii's YOLOX and its forks: `patch(model)` replaces the label assignment and the losses of its head by one batched
call. The page docs/megvii.md shows where the line goes."""

import contextlib
import functools
import types
import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from yolox_ops.ops.simota import simota
from yolox_ops.presets import PRESETS
from yolox_ops.yolox.anchors import anchor_grid
from yolox_ops.yolox.loss import yolox_loss

Target = TypeVar("Target")

HEADS = ("YOLOXHead", "YoloxHead")
_PATCH = ("get_losses", "get_assignments")


def patch(target: Target) -> Target:
    """Replaces get_losses and get_assignments of the YOLOX head in `target`, and returns `target`.

    The losses and gradients stay those of the head's own code but for rounding (and where that crashes or divides 0 by
    0), also under autocast, DistributedDataParallel and torch.compile; the parameters stay as they are. There is one
    assignment for the batch and no synchronisation. The positives are counted per process, as the head does.

    Args:
        target: a YOLOXHead (Megvii) or YoloxHead (pixeltable-yolox), a model that holds one, also wrapped by
            DistributedDataParallel, or Megvii's Trainer before it trains. Of a Trainer the model's head is patched and
            data_type becomes float32: with --fp16 it would round labels to half a pixel beyond 512, and autocast does
            not need it.

    Raises:
        TypeError: no head in `target`. ValueError: several; or one whose losses, on a small made-up batch, are not
        those that the patch would give, for its rule is one that yolox_ops does not know.
    """
    if _is_trainer(target):
        target._yolox_ops_data_type, target.data_type = target.data_type, torch.float32
        patch(target.exp.get_model())
        return target
    head = find_head(target)
    if not _is_patched(head):
        _refuse_unknown(head)
        head.get_losses = types.MethodType(get_losses, head)
        head.get_assignments = _SIGNATURES[_rule_name(head)]
    return target


def unpatch(target: Target) -> Target:
    """Gives the head in `target` its own methods back, whether it was patched or not, and returns `target`."""
    if _is_trainer(target):
        target.data_type = vars(target).pop("_yolox_ops_data_type", target.data_type)
        unpatch(target.exp.get_model())
        return target
    head = find_head(target)
    for name in _PATCH:
        vars(head).pop(name, None)
    return target


@contextlib.contextmanager
def patched(target: Target) -> Iterator[Target]:
    """`with patched(model):` patches, and unpatches at the end what was not patched before."""
    before = not _is_trainer(target) and _is_patched(find_head(target))
    try:
        yield patch(target)
    finally:
        if not before:
            unpatch(target)


def find_head(target: Any) -> Any:
    """The one YOLOX head in a model or a wrapped one."""
    if not isinstance(target, nn.Module):
        raise TypeError(f"target must be a model, a head or Megvii's Trainer, got {type(target).__name__}")
    heads = [m for m in target.modules() if {c.__name__ for c in type(m).__mro__} & set(HEADS)]
    if not heads:
        raise TypeError(f"target must hold a module of class {' or '.join(HEADS)}, got {type(target).__name__}")
    if len(heads) > 1:
        raise ValueError(f"target must hold one YOLOX head, got {len(heads)}")
    return heads[0]


def scene(
    x_shifts: list[Tensor], y_shifts: list[Tensor], expanded_strides: list[Tensor], labels: Tensor, outputs: Tensor
) -> tuple[Tensor, ...]:
    """What simota, yolox_loss and explain take, from what a head gives to its get_losses; all of it float32.

    Args:
        x_shifts, y_shifts, expanded_strides: per level [1, n], cells and pixels.
        labels: [B, M, 5] class, centre x, centre y, width, height in pixels. A row of zeros is padding, wherever it
            stands; any other counts, while the head's own code drops rows whose sum is not positive.
        outputs: [B, N, 5 + C], decoded boxes, objectness and class logits.
    """
    strides = torch.cat(expanded_strides, 1)[0].float()
    shifts = torch.stack([torch.cat(x_shifts, 1)[0], torch.cat(y_shifts, 1)[0]], -1).float()
    real = (labels != 0).any(-1)
    # Real rows first, in their order: a count per image is then all that there is to say.
    packed = labels.gather(1, (~real).byte().argsort(dim=1, stable=True)[..., None].expand_as(labels)).float()
    return (
        outputs[..., :4].float(),
        outputs[..., 5:].float(),
        outputs[..., 4].float(),
        (shifts + 0.5) * strides[:, None],
        strides,
        packed[..., 1:],
        packed[..., 0].long(),
        real.sum(1),
    )


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
    if labels.dtype in (torch.float16, torch.bfloat16):
        warnings.warn(f"labels arrive as {labels.dtype}, which rounds them: pass float32", stacklevel=2)
    inputs = scene(x_shifts, y_shifts, expanded_strides, labels, outputs)
    rule = PRESETS[_rule_name(self)]
    with torch.autocast(outputs.device.type, enabled=False):
        loss = yolox_loss(
            *inputs,
            raw_boxes=torch.cat(origin_preds, 1) if self.use_l1 else None,
            box_loss=self.iou_loss.loss_type,
            all_ranks=False,
            assigner=functools.partial(simota, **rule),
        )
    ratio = loss.num_fg.sum().clamp(min=1) / inputs[-1].sum().clamp(min=1)
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
        gt_bboxes_per_image: [num_gt, 4], centre x, centre y, width, height in pixels. gt_classes: [num_gt].
        bboxes_preds_per_image: [N, 4], likewise, decoded.
        expanded_strides, x_shifts, y_shifts: [1, N], pixels and cells.
        cls_preds: [B, N, C] and obj_preds: [B, N, 1], logits.
        mode: where the head's own code runs after it ran out of memory; nothing here needs it.
        rule: a name of yolox_ops.PRESETS.

    Returns:
        (gt_matched_classes [F] float32, fg_mask [N] bool, pred_ious_this_matching [F] float32, matched_gt_inds [F]
        int64, num_fg), the positives in ascending order of their anchors.
    """
    assignment = simota(
        bboxes_preds_per_image[None].float(),
        cls_preds[batch_idx][None].float(),
        obj_preds[batch_idx][None, :, 0].float(),
        torch.stack([x_shifts[0] + 0.5, y_shifts[0] + 0.5], -1).float() * expanded_strides[0, :, None].float(),
        expanded_strides[0].float(),
        gt_bboxes_per_image[None, :num_gt].float(),
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


_SIGNATURES = {"yolox": get_assignments, "yolox-0.3": _get_assignments_of_release}


def _rule_name(head: Any) -> str:
    """The preset of the head's rule, by the name of the method that has its geometry."""
    return "yolox" if hasattr(head, "get_geometry_constraint") else "yolox-0.3"


def _is_patched(head: Any) -> bool:
    return "get_losses" in vars(head)


def _is_trainer(target: Any) -> bool:
    return hasattr(target, "data_type") and hasattr(getattr(target, "exp", None), "get_model")


def _refuse_unknown(head: Any) -> None:
    """Compares the head's own losses with ours on three made-up batches, each also with the L1 term."""
    name = type(head).__name__
    for seed in range(3):
        batch = _made_up_batch(head, seed)
        for use_l1 in (False, True):
            before, head.use_l1 = head.use_l1, use_l1
            try:
                with torch.no_grad(), warnings.catch_warnings():  # of how it spells autocast
                    warnings.simplefilter("ignore", FutureWarning)
                    theirs = type(head).get_losses(head, *batch)
                    ours = get_losses(head, *batch)
            except Exception as error:
                raise ValueError(f"{name}.get_losses must take a batch as Megvii's does, got {error!r}") from error
            finally:
                head.use_l1 = before
            for term, own, new in zip(("total", "box", "obj", "cls", "l1", "num_fg"), theirs, ours, strict=True):
                if not abs(float(own) - float(new)) <= 1e-4 * abs(float(own)):
                    raise ValueError(
                        f"{name} must have a rule of Megvii's; on a made-up batch its {term} is {float(own):.6g}, and "
                        f"{float(new):.6g} by the rule {_rule_name(head)!r}"
                    )


def _made_up_batch(head: Any, seed: int) -> tuple:
    """Arguments of get_losses on the CPU: two images of 128 x 128 pixels with 3 and 2 objects."""
    generator = torch.Generator().manual_seed(seed)
    random = functools.partial(torch.rand, generator=generator)
    points, strides = anchor_grid(128, 128, tuple(head.strides))
    N = len(strides)
    raw_boxes = random(2, N, 4) * 2 - 0.5
    centre = points + (raw_boxes[..., :2] - 0.5) * strides[:, None]
    logits = random(2, N, 1 + head.num_classes) * 6 - 4
    outputs = torch.cat([centre, raw_boxes[..., 2:].exp() * strides[:, None], logits], -1)
    labels = torch.cat([random(2, 5, 1) * head.num_classes, random(2, 5, 2) * 128, 8 + random(2, 5, 2) * 80], -1)
    labels[..., 0].floor_()
    labels[0, 3:], labels[1, 2:] = 0, 0
    x, y = ((points / strides[:, None] - 0.5).T)[:, None]
    return None, [x], [y], [strides[None]], labels, outputs, [raw_boxes], outputs.dtype
