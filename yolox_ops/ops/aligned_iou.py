"""aligned_iou: the similarity of boxes taken in pairs, first with first, second with second."""

import torch
from torch import Tensor

from yolox_ops._arguments import FORMATS, KINDS, check_choice, check_shape
from yolox_ops._check import check_float, check_same_device, wide_dtype
from yolox_ops._library import check_schema
from yolox_ops._transforms import register_box_gradient, traceable

check_schema("aligned_iou(Tensor boxes1, Tensor boxes2, str fmt, str kind) -> Tensor")
check_schema("aligned_iou_backward(Tensor grad, Tensor boxes1, Tensor boxes2, str fmt, str kind) -> (Tensor, Tensor)")


def _check_boxes(
    boxes1: Tensor,  # [..., 4]
    boxes2: Tensor,  # [..., 4]
    fmt: str,
    kind: str,
) -> None:
    """Boxes in any dimensions, as the public function takes them."""
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        check_float(name, boxes)
        if boxes.dim() < 1 or boxes.shape[-1] != 4:
            raise ValueError(f"{name} must be [..., 4], got {list(boxes.shape)}")
    check_same_device("boxes1", boxes1, boxes2=boxes2)
    check_choice("fmt", fmt, FORMATS)
    check_choice("kind", kind, KINDS)


def check(
    boxes1: Tensor,  # [N, 4]
    boxes2: Tensor,  # [N, 4]
    fmt: str,
    kind: str,
) -> None:
    """The arguments of the bare op."""
    _check_boxes(boxes1, boxes2, fmt, kind)
    check_shape("boxes1", boxes1, "[N, 4]", (None, 4))
    check_shape("boxes2", boxes2, "[N, 4]", (boxes1.shape[0], 4))


def check_backward(
    grad: Tensor,  # [N]
    boxes1: Tensor,  # [N, 4]
    boxes2: Tensor,  # [N, 4]
    fmt: str,
    kind: str,
) -> None:
    """Those of its gradient."""
    check(boxes1, boxes2, fmt, kind)
    check_shape("grad", grad, "[N]", boxes1.shape[:1])


@torch.library.register_fake("yolox_ops::aligned_iou")
def _(
    boxes1: Tensor,  # [N, 4]
    boxes2: Tensor,  # [N, 4]
    fmt: str,
    kind: str,
) -> Tensor:
    check(boxes1, boxes2, fmt, kind)
    return boxes1.new_empty(boxes1.shape[:1], dtype=wide_dtype(boxes1, boxes2))


@torch.library.register_fake("yolox_ops::aligned_iou_backward")
def _(
    grad: Tensor,  # [N]
    boxes1: Tensor,  # [N, 4]
    boxes2: Tensor,  # [N, 4]
    fmt: str,
    kind: str,
) -> tuple[Tensor, Tensor]:
    check_backward(grad, boxes1, boxes2, fmt, kind)
    return boxes1.new_empty(boxes1.shape), boxes2.new_empty(boxes2.shape)


register_box_gradient("aligned_iou")


@traceable
def aligned_iou(boxes1: Tensor, boxes2: Tensor, *, fmt: str = "xyxy", kind: str = "iou") -> Tensor:
    """Similarity of each box with its partner, the quantity inside the IoU losses.

    Args:
        boxes1: [..., 4], float32, float64, float16 or bfloat16.
        boxes2: [..., 4]; the shapes broadcast.
        fmt, kind: as in pairwise_iou.

    Returns:
        [...], float64 if an input is float64, else float32; values and gradients as in pairwise_iou. A pair whose
        incoming gradient is 0 passes back 0, whatever its boxes hold.

    Raises:
        As pairwise_iou.
    """
    _check_boxes(boxes1, boxes2, fmt, kind)
    try:
        shape = torch.broadcast_shapes(boxes1.shape, boxes2.shape)
    except RuntimeError as error:
        raise ValueError(
            f"boxes1 and boxes2 must have shapes that broadcast, got {list(boxes1.shape)} and {list(boxes2.shape)}"
        ) from error
    flat1, flat2 = (boxes.expand(shape).reshape(-1, 4) for boxes in (boxes1, boxes2))
    return torch.ops.yolox_ops.aligned_iou(flat1, flat2, fmt, kind).view(shape[:-1])
