"""The training loss of YOLOX, for a whole batch at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from yolox_ops._arguments import check_at_least, check_choice, check_shape
from yolox_ops._check import check_float, check_same_device, computable, wide_dtype
from yolox_ops._transforms import as_pytree, traceable
from yolox_ops.assignment import Assignment
from yolox_ops.ops.aligned_iou import aligned_iou
from yolox_ops.ops.pairwise_iou import pairwise_iou
from yolox_ops.ops.simota import simota
from yolox_ops.scene import Scene


@as_pytree
class YOLOXLoss(NamedTuple):
    """What yolox_loss returns.

    Attributes:
        total: scalar, reg_weight * box + obj + cls + l1; call backward() on it.
        box, obj, cls, l1: scalars, unweighted; l1 is 0 without raw_boxes.
        num_fg: [B] int64, positive anchors of each image, as the assigner counted them in this process.
    """

    total: Tensor
    box: Tensor
    obj: Tensor
    cls: Tensor
    l1: Tensor
    num_fg: Tensor


def _positives(num_fg: Tensor, all_ranks: bool) -> Tensor:
    """max(positives, 1): those of this process, or of the whole batch divided by the ranks that it is spread over."""
    count = num_fg.sum()
    if not (all_ranks and dist.is_available() and dist.is_initialized()):
        return count.clamp(min=1)
    dist.all_reduce(count)
    return count.clamp(min=1) / dist.get_world_size()


def _largest_iou(pred_boxes: Tensor, gt_boxes: Tensor, num_gts: Tensor | None) -> Tensor:
    """[B, N], the largest IoU of each prediction with a ground truth of its image, 0 where there is none."""
    iou = pairwise_iou(gt_boxes, pred_boxes, fmt="cxcywh").nan_to_num(nan=0.0)
    if num_gts is not None:
        rows = torch.arange(gt_boxes.shape[1], device=gt_boxes.device)
        iou = torch.where((rows < computable(num_gts)[:, None])[..., None], iou, 0)
    return iou.amax(1)


@traceable
def yolox_loss(
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None = None,
    *,
    raw_boxes: Tensor | None = None,
    reg_weight: float = 5.0,
    box_loss: str = "iou",
    objectness: str = "binary",
    all_ranks: bool = True,
    assigner: Callable[..., Assignment] = simota,
) -> YOLOXLoss:
    """The loss of YOLOX (Ge et al. 2021; the defaults are those of Megvii's YOLOXHead.get_losses).

    Every term is a sum divided by max(positives of the batch, 1). Where torch.distributed is initialised the positives
    are counted over all ranks, so every rank must call, and each rank's sum is divided by the mean count per rank:
    the gradients that DistributedDataParallel averages are then those of one process with the whole batch. Megvii's
    code divides by the rank's own count, which is all_ranks=False.

    Args:
        pred_boxes: [B, N, 4], decoded boxes as centre x, centre y, width, height in pixels. All float tensors may be
            float32, float64, float16 or bfloat16, each its own; arithmetic is float32, float64 if a prediction is.
        cls_logits: [B, N, C], before the sigmoid.
        obj_logits: [B, N], likewise.
        anchor_points: [N, 2], centres of the anchors in pixels, (index + 0.5) * stride.
        strides: [N], in pixels.
        gt_boxes: [B, G, 4], centre x, centre y, width, height in pixels. float16 rounds them to half a pixel at 1000. A
            size of 0 or less counts as 0: the box overlaps nothing, and its logarithm in the L1 term is log(1e-8).
        gt_labels: [B, G], any integer dtype, in [0, C).
        num_gts: [B], any integer dtype: rows of an image at or past it are padding. None: all G are real.
        raw_boxes: [B, N, 4], the head's output before decoding: offset of the centre from the cell's corner in strides,
            logarithm of the size in strides. Given, they turn the L1 term on, which YOLOX does in its last epochs.
        reg_weight: the weight of box in total, at least 0.
        box_loss: "iou", which is 1 - IoU^2, or "giou", 1 - GIoU (Rezatofighi et al. 2019), of the positives.
        objectness: the target of sigmoid(obj). "binary": 1 for positives, 0 for others; "iou": for positives the
            matched IoU, for others the largest IoU with a ground truth of the image.
        all_ranks: whether the positives of all ranks are counted.
        assigner: called once, with the eight tensors above without their gradients; returns an Assignment. For other
            rules of simota: functools.partial(simota, topk=5).

    Returns:
        YOLOXLoss(total, box, obj, cls, l1, num_fg). cls is binary cross-entropy with the label's one-hot times the
        matched IoU, of the positives. Differentiable in pred_boxes, cls_logits, obj_logits and raw_boxes; targets and
        assignment are constants. What the predictions of a background anchor hold, NaN as well, changes nothing but
        obj, and there a NaN of obj_logits counts. Without positives, and so where B, N, C or G is 0, box, cls
        and l1 are 0, and so are their gradients.

    Raises:
        ValueError: a shape, device or option does not fit, or the assigner's matched_gt is not [B, N]; what simota
        raises for values. TypeError: a dtype does not fit.
    """
    scene = Scene(pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts)
    scene.check()
    B, N, _ = pred_boxes.shape
    check_float("obj_logits", obj_logits)  # which an assigner can do without
    if raw_boxes is not None:
        check_float("raw_boxes", raw_boxes)
        check_shape("raw_boxes", raw_boxes, "[B, N, 4]", (B, N, 4))
        check_same_device("pred_boxes", pred_boxes, raw_boxes=raw_boxes)
    reg_weight = check_at_least("reg_weight", reg_weight, 0)
    check_choice("box_loss", box_loss, ("iou", "giou"))
    check_choice("objectness", objectness, ("binary", "iou"))

    assignment = assigner(*scene.detach())
    check_shape("matched_gt of the assigner", assignment.matched_gt, "[B, N]", (B, N))
    fg = assignment.fg_mask
    positives = _positives(assignment.num_fg, all_ranks)

    dtype = wide_dtype(pred_boxes, cls_logits, obj_logits)
    matched_iou = assignment.matched_iou.to(dtype)
    # Background anchors look at a row of zeros behind the last ground truth, never at padding, and G may be 0.
    gts = F.pad(gt_boxes.detach().to(dtype), (0, 0, 0, 1))
    gts[..., 2:].clamp_(min=0)
    row = torch.where(fg, assignment.matched_gt, gt_boxes.shape[1])
    gt = gts.gather(1, row[..., None].expand(B, N, 4))
    label = F.pad(computable(gt_labels), (0, 1)).gather(1, row).long()

    # torch.where on the way in, not only on the way out: 0 * NaN would be the gradient otherwise.
    similarity = aligned_iou(pred_boxes.to(dtype), gt, fmt="cxcywh", kind=box_loss)
    similarity = torch.where(fg, similarity, 1)
    box = (1 - (similarity**2 if box_loss == "iou" else similarity.clamp(-1, 1))).sum() / positives

    # BCE with a target that is 0 but for one class, without writing the target out.
    logits = torch.where(fg[..., None], cls_logits.to(dtype), 0)
    entropy = F.softplus(logits).sum(-1)
    if logits.shape[-1] > 0:
        entropy = entropy - matched_iou * logits.gather(-1, label[..., None]).squeeze(-1)
    cls = torch.where(fg, entropy, 0).sum() / positives

    target = fg.to(dtype)
    if objectness == "iou":
        target = torch.where(fg, matched_iou, _largest_iou(pred_boxes.detach().to(dtype), gts, num_gts))
    obj = F.binary_cross_entropy_with_logits(obj_logits.to(dtype), target, reduction="sum") / positives

    l1 = box.new_zeros(())
    if raw_boxes is not None:
        stride = strides.to(dtype)[:, None]
        corner = anchor_points.to(dtype) / stride - 0.5
        wanted = torch.cat([gt[..., :2] / stride - corner, torch.log(gt[..., 2:] / stride + 1e-8)], -1)
        l1 = torch.where(fg[..., None], raw_boxes.to(dtype) - wanted, 0).abs().sum() / positives

    return YOLOXLoss(reg_weight * box + obj + cls + l1, box, obj, cls, l1, assignment.num_fg)
