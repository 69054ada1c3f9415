"""The IoU family of box losses, for boxes in pairs."""

import torch
from torch import Tensor

from yolox_ops._arguments import check_choice
from yolox_ops._transforms import traceable
from yolox_ops.ops.aligned_iou import aligned_iou

REDUCTIONS = ("none", "mean", "sum")


@traceable
def iou_loss(
    boxes1: Tensor, boxes2: Tensor, *, kind: str = "giou", reduction: str = "none", fmt: str = "xyxy"
) -> Tensor:
    """1 - aligned_iou(boxes1, boxes2): the loss of IoU, GIoU (Rezatofighi et al. 2019), DIoU or CIoU (Zheng et al.
    2020).

    Equal in value and gradient to torchvision.ops.generalized_box_iou_loss, distance_box_iou_loss and
    complete_box_iou_loss, which add 1e-7 to their denominators: it shows where those are small, in boxes of less than
    about 0.1 by 0.1 and, in CIoU's weight alpha, where 1 - IoU and the difference of aspects are both below 1e-5.

    Args:
        boxes1: [..., 4], float32, float64, float16 or bfloat16; arithmetic is float32, float64 if an input is.
        boxes2: [..., 4]; the shapes broadcast.
        kind: "iou", "giou", "diou" or "ciou".
        reduction: "none"; or the "mean" or "sum" of all pairs, which is 0 where there are none, with gradients of 0.
        fmt: as in pairwise_iou.

    Returns:
        [...], or a scalar; float64 if an input is float64, else float32. Differentiable once in both boxes by
        backward(). A box with a NaN gives NaN.

    Raises:
        ValueError: a shape, device, kind, reduction or fmt does not fit. TypeError: a dtype does not.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    loss = 1 - aligned_iou(boxes1, boxes2, fmt=fmt, kind=kind)
    if reduction == "none":
        return loss
    total = loss.sum()
    if reduction == "sum":
        return total
    # As a tensor, for an exported program to see at each call whether there is a pair.
    return total / torch.scalar_tensor(loss.numel(), dtype=loss.dtype, device=loss.device).clamp(min=1)
