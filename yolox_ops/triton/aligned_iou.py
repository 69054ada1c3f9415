"""aligned_iou and its gradient in Triton."""

import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.ops.aligned_iou import check, check_backward
from yolox_ops.triton.box_gradient import gradient
from yolox_ops.triton.boxes import angles, load_angle, load_numbers, make_box, similarity, store_numbers
from yolox_ops.triton.launch import blocks, launch

BLOCK = 256  # pairs of a program


@triton.jit
def similarity_kernel(
    boxes1,  # [N, 4]
    boxes2,  # [N, 4]
    angles1,  # [N], read for ciou alone
    angles2,  # [N]
    out,  # [N]
    N,
    FMT: tl.constexpr,
    KIND: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A block of pairs."""
    T: tl.constexpr = out.dtype.element_ty
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    a = make_box(load_numbers(boxes1, i * 4, i < N, T), FMT)
    b = make_box(load_numbers(boxes2, i * 4, i < N, T), FMT)
    turn = load_angle(angles2, i, i < N, KIND) - load_angle(angles1, i, i < N, KIND)
    tl.store(out + i, similarity(a, b, turn, KIND), i < N)


def aligned_iou(
    boxes1: Tensor,  # [N, 4]
    boxes2: Tensor,  # [N, 4]
    fmt: str,
    kind: str,
) -> Tensor:
    check(boxes1, boxes2, fmt, kind)
    dtype, N = wide_dtype(boxes1, boxes2), boxes1.shape[0]
    dense = boxes1.contiguous(), boxes2.contiguous()
    turns = (angles(boxes, fmt, kind, dtype) for boxes in dense)
    out = boxes1.new_empty(N, dtype=dtype)
    launch(similarity_kernel, blocks(N, BLOCK), *dense, *turns, out, N, FMT=fmt, KIND=kind, BLOCK=BLOCK)
    return out


@triton.jit
def gradient_kernel(
    boxes1,  # [N, 4]
    boxes2,  # [N, 4]
    angles1,  # [N], read for ciou alone
    angles2,  # [N]
    grad,  # [N]
    out1,  # [N, 4]
    out2,  # [N, 4]
    N,
    FMT: tl.constexpr,
    KIND: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A block of pairs."""
    T: tl.constexpr = out1.dtype.element_ty
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    first, second = load_numbers(boxes1, i * 4, i < N, T), load_numbers(boxes2, i * 4, i < N, T)
    turn = load_angle(angles2, i, i < N, KIND) - load_angle(angles1, i, i < N, KIND)
    g = tl.load(grad + i, i < N, 0.0)
    store_numbers(out1, i * 4, i < N, gradient(g, first, make_box(second, FMT), turn, True, FMT, KIND))
    store_numbers(out2, i * 4, i < N, gradient(g, second, make_box(first, FMT), -turn, False, FMT, KIND))


def aligned_iou_backward(
    grad: Tensor,  # [N]
    boxes1: Tensor,  # [N, 4]
    boxes2: Tensor,  # [N, 4]
    fmt: str,
    kind: str,
) -> tuple[Tensor, Tensor]:
    check_backward(grad, boxes1, boxes2, fmt, kind)
    dtype, N = wide_dtype(boxes1, boxes2), boxes1.shape[0]
    dense = boxes1.contiguous(), boxes2.contiguous()
    turns = (angles(boxes, fmt, kind, dtype) for boxes in dense)
    grad1, grad2 = (boxes.new_empty((N, 4), dtype=dtype) for boxes in dense)
    inputs = *dense, *turns, grad.contiguous()
    launch(gradient_kernel, blocks(N, BLOCK), *inputs, grad1, grad2, N, FMT=fmt, KIND=kind, BLOCK=BLOCK)
    return grad1.to(boxes1.dtype), grad2.to(boxes2.dtype)
