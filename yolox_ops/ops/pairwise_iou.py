"""pairwise_iou: the model op. What an op is (schema, check, fake, gradient, docstring) is all on this page;
the kernels are csrc/boxes/pairwise_iou.{cpp,cu} and yolox_ops/triton/pairwise_iou.py."""

import math

import torch
from torch import Tensor

from yolox_ops._arguments import FORMATS, KINDS, check_choice, check_shape
from yolox_ops._check import check_float, check_same_device, wide_dtype
from yolox_ops._library import check_schema
from yolox_ops._transforms import register_box_gradient, traceable

check_schema("pairwise_iou(Tensor boxes1, Tensor boxes2, str fmt, str kind) -> Tensor")
check_schema("pairwise_iou_backward(Tensor grad, Tensor boxes1, Tensor boxes2, str fmt, str kind) -> (Tensor, Tensor)")


def _check_boxes(
    boxes1: Tensor,  # [..., M, 4]
    boxes2: Tensor,  # [..., N, 4]
    fmt: str,
    kind: str,
) -> None:
    """Sets of boxes in any batch dimensions, as the public function takes them."""
    for name, boxes, words in (("boxes1", boxes1, "[..., M, 4]"), ("boxes2", boxes2, "[..., N, 4]")):
        check_float(name, boxes)
        if boxes.dim() < 2 or boxes.shape[-1] != 4:
            raise ValueError(f"{name} must be {words}, got {list(boxes.shape)}")
    check_same_device("boxes1", boxes1, boxes2=boxes2)
    check_choice("fmt", fmt, FORMATS)
    check_choice("kind", kind, KINDS)


def check(
    boxes1: Tensor,  # [B, M, 4]
    boxes2: Tensor,  # [B, N, 4]
    fmt: str,
    kind: str,
) -> None:
    """The arguments of the bare op."""
    _check_boxes(boxes1, boxes2, fmt, kind)
    check_shape("boxes1", boxes1, "[B, M, 4]", (None, None, 4))
    check_shape("boxes2", boxes2, "[B, N, 4]", (boxes1.shape[0], None, 4))


def check_backward(
    grad: Tensor,  # [B, M, N]
    boxes1: Tensor,  # [B, M, 4]
    boxes2: Tensor,  # [B, N, 4]
    fmt: str,
    kind: str,
) -> None:
    """Those of its gradient."""
    check(boxes1, boxes2, fmt, kind)
    check_shape("grad", grad, "[B, M, N]", (boxes1.shape[0], boxes1.shape[1], boxes2.shape[1]))


@torch.library.register_fake("yolox_ops::pairwise_iou")
def _(
    boxes1: Tensor,  # [B, M, 4]
    boxes2: Tensor,  # [B, N, 4]
    fmt: str,
    kind: str,
) -> Tensor:
    check(boxes1, boxes2, fmt, kind)
    shape = (boxes1.shape[0], boxes1.shape[1], boxes2.shape[1])
    return boxes1.new_empty(shape, dtype=wide_dtype(boxes1, boxes2))


@torch.library.register_fake("yolox_ops::pairwise_iou_backward")
def _(
    grad: Tensor,  # [B, M, N]
    boxes1: Tensor,  # [B, M, 4]
    boxes2: Tensor,  # [B, N, 4]
    fmt: str,
    kind: str,
) -> tuple[Tensor, Tensor]:
    check_backward(grad, boxes1, boxes2, fmt, kind)
    return boxes1.new_empty(boxes1.shape), boxes2.new_empty(boxes2.shape)


register_box_gradient("pairwise_iou")


@traceable
def pairwise_iou(boxes1: Tensor, boxes2: Tensor, *, fmt: str = "xyxy", kind: str = "iou") -> Tensor:
    """Similarity of every box of one set with every box of another, without [M, N] temporaries.

    Args:
        boxes1: [..., M, 4], float32, float64, float16 or bfloat16.
        boxes2: [..., N, 4]; its batch dimensions broadcast with those of boxes1.
        fmt: what a box's numbers are: "xyxy" (two corners), "xywh" (corner and size) or "cxcywh" (centre and size).
        kind: "iou", "giou" (Rezatofighi et al. 2019), "diou" or "ciou" (Zheng et al. 2020).

    Returns:
        [..., M, N], float64 if an input is float64, else float32. Boxes that do not overlap, and boxes of no or
        negative size, have IoU 0; division by 0 in a formula gives 0; a box with a NaN gives NaN. Differentiable once
        in both boxes by backward(), not in forward mode; in CIoU alpha counts as a constant, as in the paper.

    Raises:
        ValueError: a shape, device, fmt or kind does not fit. TypeError: a dtype does not. NotImplementedError: forward
        mode, as in torch.func.jvp, or a second derivative is asked for.
    """
    _check_boxes(boxes1, boxes2, fmt, kind)
    try:
        batch = torch.broadcast_shapes(boxes1.shape[:-2], boxes2.shape[:-2])
    except RuntimeError as error:
        raise ValueError(
            f"boxes1 and boxes2 must have batch dimensions that broadcast, got {list(boxes1.shape)} "
            f"and {list(boxes2.shape)}"
        ) from error
    count = math.prod(batch)
    flat1, flat2 = (b.expand(*batch, *b.shape[-2:]).reshape(count, *b.shape[-2:]) for b in (boxes1, boxes2))
    result = torch.ops.yolox_ops.pairwise_iou(flat1, flat2, fmt, kind)
    return result.view(*batch, boxes1.shape[-2], boxes2.shape[-2])
