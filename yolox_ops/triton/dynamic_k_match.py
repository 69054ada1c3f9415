"""dynamic_k_match in Triton, in two launches: in the first a program is a warp and has a ground truth, goes over its
overlaps and then over its costs once, and claims the anchors that it prefers; the second settles claims, a tile of
anchors to a program. Bound by the latency of a row's loads and searches; modelled for an H200, 16 images of 49 rows
and 8400 anchors take 41 us, their bytes 8.4 us."""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import computable, wide_dtype
from yolox_ops.ops.dynamic_k_match import check
from yolox_ops.triton.launch import blocks, launch
from yolox_ops.triton.matching import (
    count_gts,
    locate_tile,
    read_owner,
    settle_conflicts,
    store_match,
    take_preferred,
)

# Numbers that kernels take; see NUMBERS of batch.py.
NUMBERS = [
    *("cost_image_stride", "cost_row_stride", "cost_column_stride"),
    *("iou_image_stride", "iou_row_stride", "iou_column_stride"),
    *("G", "N"),
]


# Elements of a row that a program looks at in one step, and anchors of a program that settles claims.
BLOCK = 512
SETTLED = 128


class Layout(NamedTuple):
    """What kernels are compiled for."""

    dtype: tl.dtype  # of the overlaps' arithmetic
    is_dense: bool  # rows of both matrices have their columns side by side


class Image(NamedTuple):
    """The matrices of one image, made by a kernel of its arguments: pointers, strides and their size."""

    cost: Any  # [G, N]
    cost_row_stride: int
    cost_column_stride: int
    iou: Any  # [G, N]
    iou_row_stride: int
    iou_column_stride: int
    N: int


@triton.jit
def read_columns(image, first, BLOCK: tl.constexpr):
    j = first + tl.arange(0, BLOCK)
    return j, j < image.N


@triton.jit
def point_at(row, column_stride, j, LAYOUT: tl.constexpr):
    if LAYOUT.is_dense:
        return row + j
    else:
        return row + j.to(tl.int64) * column_stride


@triton.jit
def read_overlaps(image, g, j, mask, LAYOUT: tl.constexpr):
    row = image.iou + g * image.iou_row_stride
    value = tl.load(point_at(row, image.iou_column_stride, j, LAYOUT), mask, 0.0).to(LAYOUT.dtype)
    return tl.where(value > 1e30, 1e30, value)  # it may be +inf, and this is more than any k already


@triton.jit
def read_costs_of_pairs(image, g, j, mask, LAYOUT: tl.constexpr):
    row = image.cost + g * image.cost_row_stride
    cost = tl.load(point_at(row, image.cost_column_stride, j, LAYOUT), mask, float("inf"))
    return cost.to(tl.float64)


@triton.jit
def read_costs(image, g, j, mask, LAYOUT: tl.constexpr):
    return read_costs_of_pairs(image, g, j, mask, LAYOUT), j


@triton.jit(do_not_specialize=[*NUMBERS, "topk"])
def take_anchors(
    claims,  # [B, N], none before
    cost,  # [B, G, N]
    cost_image_stride,
    cost_row_stride,
    cost_column_stride,
    iou,  # [B, G, N]
    iou_image_stride,
    iou_row_stride,
    iou_column_stride,
    num_gts,  # [B]
    G,
    N,
    topk,
    K_ROUNDING: tl.constexpr,
    LAYOUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One ground truth of one image."""
    program = tl.program_id(0).to(tl.int64)
    b, g = program // G, program % G
    if g < count_gts(num_gts, b, G):
        cost += b * cost_image_stride
        iou += b * iou_image_stride
        image = Image(cost, cost_row_stride, cost_column_stride, iou, iou_row_stride, iou_column_stride, N)
        own = claims + b * N
        take_preferred(own, image, g, N, topk, read_columns, read_overlaps, read_costs, K_ROUNDING, LAYOUT, BLOCK)


@triton.jit(do_not_specialize=NUMBERS)
def settle_anchors(
    matched_gt,  # [B, N], claims before
    cost,  # [B, G, N]
    cost_image_stride,
    cost_row_stride,
    cost_column_stride,
    iou,  # [B, G, N]
    iou_image_stride,
    iou_row_stride,
    iou_column_stride,
    num_gts,  # [B]
    G,
    N,
    matched_iou,  # [B, N]
    num_fg,  # [B]
    LAYOUT: tl.constexpr,
    TILE: tl.constexpr,
):
    """A tile of one image's anchors."""
    b, j = locate_tile(N, TILE)
    cost += b * cost_image_stride
    iou += b * iou_image_stride
    image = Image(cost, cost_row_stride, cost_column_stride, iou, iou_row_stride, iou_column_stride, N)
    owner = read_owner(tl.load(matched_gt + b * N + j, j < N, 0))
    owner = settle_conflicts(image, count_gts(num_gts, b, G), j, owner, read_costs_of_pairs, LAYOUT)
    overlap = tl.load(iou + owner * iou_row_stride + j * iou_column_stride, owner >= 0, 0.0)
    store_match(matched_gt, matched_iou, num_fg, b, N, j, owner, overlap)


def dynamic_k_match(
    cost: Tensor,  # [B, G, N]
    iou: Tensor,  # [B, G, N]
    num_gts: Tensor | None,  # [B]
    topk: int,
    k_rounding: str,
) -> tuple[Tensor, Tensor, Tensor]:
    check(cost, iou, num_gts, topk, k_rounding)
    B, G, N = cost.shape
    counts = cost.new_full((B,), G, dtype=torch.int64) if num_gts is None else computable(num_gts).contiguous()
    matched_gt = cost.new_zeros((B, N), dtype=torch.int64)
    matched_iou = cost.new_empty((B, N), dtype=torch.float32)
    num_fg = cost.new_zeros(B, dtype=torch.int64)
    args = (matched_gt, cost, *cost.stride(), iou, *iou.stride(), counts, G, N)
    is_wide = wide_dtype(iou) == torch.float64
    layout = Layout(tl.float64 if is_wide else tl.float32, is_dense=cost.stride(2) == iou.stride(2) == 1)
    choice = {"K_ROUNDING": k_rounding, "LAYOUT": layout}
    launch(take_anchors, B * G, *args, min(topk, N), **choice, BLOCK=BLOCK, num_warps=1)
    tiles = B * blocks(N, SETTLED)
    launch(settle_anchors, tiles, *args, matched_iou, num_fg, LAYOUT=layout, TILE=SETTLED, num_warps=1)
    return matched_gt, matched_iou, num_fg
