"""The assigners that a model can be trained with, by name: SimOTA, OTA, and the fixed rules that YOLOX began with."""

from collections.abc import Callable

import torch
from torch import Tensor

import yolox_ops
from yolox_ops._check import computable, wide_dtype
from yolox_ops._transforms import traceable
from yolox_ops.assignment import Assignment
from yolox_ops.ops.aligned_iou import aligned_iou
from yolox_ops.ops.simota import simota
from yolox_ops.scene import Scene


def ota(
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor | None,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None = None,
) -> Assignment:
    """`yolox_ops.ota` (Ge et al. 2021) by its defaults, with its arguments in the order of simota's.

    Args, Returns, Raises: as yolox_ops.ota.
    """
    grid_and_gts = (anchor_points, strides, gt_boxes, gt_labels, num_gts)
    return yolox_ops.ota(pred_boxes, cls_logits, *grid_and_gts, obj_logits=obj_logits)


@traceable
def center(
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor | None,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None = None,
) -> Assignment:
    """The centre location of each object is its one positive (YOLOX, Ge et al. 2021, section 2.1, "anchor-free").

    The level is that of FCOS's ranges (Tian et al. 2019, section 3.2) for d, the distance from the ground truth's
    centre to its farthest side, max(w, h) / 2: the smallest stride with d <= 8 strides, or else the largest stride. For
    strides 8, 16 and 32 the levels so take d of up to 64, up to 128, and above. The positive is the cell of that level
    that holds the centre; to a cell belong its left and top border, and not its right and bottom one. A cell that
    several ground truths claim goes to that of the smallest w * h, of equals to the lower row; a size below 0 counts as
    0. What is predicted changes nothing but matched_iou.

    Args:
        pred_boxes: [B, N, 4], decoded boxes as centre x, centre y, width, height in pixels. All float tensors may be
            float32, float64, float16 or bfloat16, each its own; arithmetic is float32, float64 if one of anchor_points,
            strides and gt_boxes is.
        cls_logits: [B, N, C], of which C alone is looked at.
        obj_logits: [B, N] or None; not looked at.
        anchor_points: [N, 2], centres of the cells in pixels, (index + 0.5) * stride.
        strides: [N], positive, in pixels.
        gt_boxes: [B, G, 4], centre x, centre y, width, height in pixels.
        gt_labels: [B, G], any integer dtype, in [0, C).
        num_gts: [B], any integer dtype: rows of an image at or past it are padding. None: all G are real, rows of zeros
            as well.

    Returns:
        Assignment(matched_gt [B, N] int64, matched_iou [B, N] float32, num_fg [B] int64). A ground truth whose centre
        no cell of its level holds, or whose every cell goes to others, has no positive. One with a NaN or an infinite
        number, or with a label outside [0, C), is absent on every device, for nothing here makes the host wait for one.
        A NaN IoU counts 0. No gradient.

    Raises:
        ValueError: a shape or device does not fit. TypeError: a dtype does not.
    """
    scene = Scene(pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts)
    return _around_centre(scene, 0.5)


@traceable
def multi_positive(
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor | None,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None = None,
) -> Assignment:
    """The centre location of each object and the eight around it are its positives (YOLOX, Ge et al. 2021, section 2.1,
    "multi positives"; FCOS's "center sampling").

    The rule of `center` but for the cells: those of the level in the 3 x 3 whose middle one holds the centre, as far
    as there are any, also where the middle one is missing.

    Args, Returns, Raises: as center.
    """
    scene = Scene(pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts)
    return _around_centre(scene, 1.5)


ASSIGNERS: dict[str, Callable[..., Assignment]] = {
    "simota": simota,
    "ota": ota,
    "center": center,
    "multi-positive": multi_positive,
}


@torch.no_grad()
def _around_centre(scene: Scene, radius: float) -> Assignment:
    """Positives are the cells of the ground truth's level that hold its centre when they reach out `radius` strides
    from their own: 0.5 for the cell itself, 1.5 for the 3 x 3."""
    scene.check()
    pred_boxes, cls_logits, _, anchor_points, strides, gt_boxes, gt_labels, num_gts = scene
    (B, N, C), G = cls_logits.shape, gt_boxes.shape[1]
    if N == 0 or G == 0:
        nothing = pred_boxes.new_zeros(B, N, dtype=torch.float32)
        return Assignment(torch.full_like(nothing, -1, dtype=torch.int64), nothing, nothing.sum(1).long())
    dtype = wide_dtype(anchor_points, strides, gt_boxes)
    points, step, gts = anchor_points.to(dtype), strides.to(dtype), gt_boxes.to(dtype)

    # An absent ground truth becomes one of NaN, which lies in no cell.
    labels = computable(gt_labels).long()
    present = (labels >= 0) & (labels < C) & gts.isfinite().all(-1)  # [B, G]
    if num_gts is not None:
        present &= torch.arange(G, device=gts.device) < computable(num_gts)[:, None]
    gts = torch.where(present[..., None], gts, torch.nan)

    # From small to large, so that the first that claims a cell has it.
    row = gts[..., 2:].clamp(min=0).prod(-1).argsort(stable=True)  # [B, G]
    gts = gts.gather(1, row[..., None].expand(B, G, 4))

    # Farthest side d <= 8 strides. Distances are compared by powers of two, which round nothing.
    levels = step.sort().values
    level = levels[torch.searchsorted(levels, gts[..., 2:].amax(-1) / 16).clamp(max=N - 1)]  # [B, G]
    claims = step == level[..., None]  # [B, G, N]
    # Borders, not distances: those of neighbours are the same number.
    for point, centre in zip(points.unbind(1), gts[..., :2, None].unbind(2), strict=True):  # [N], [B, G, 1]
        claims &= (point - radius * step <= centre) & (centre < point + radius * step)
    claimed, first = claims.max(1)  # [B, N]; the first of equals
    row = row.gather(1, first)
    gt = gts.gather(1, first[..., None].expand(B, N, 4))

    iou = aligned_iou(pred_boxes, gt, fmt="cxcywh").nan_to_num(nan=0.0).float()
    return Assignment(torch.where(claimed, row, -1), torch.where(claimed, iou, 0), claimed.sum(1))
