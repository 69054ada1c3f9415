"""dynamic_k_match in Triton."""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import computable
from yolox_ops.ops.dynamic_k_match import check
from yolox_ops.triton.launch import blocks, launch
from yolox_ops.triton.matching import (
    BLOCK,
    NOBODY,
    TILE,
    count_gts,
    locate_tile,
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
    j = first + tl.arange(0, BLOCK).to(tl.int64)
    return j, j < image.N


@triton.jit
def read_overlaps(image, g, j, mask, RULE: tl.constexpr):
    value = tl.load(image.iou + g * image.iou_row_stride + j * image.iou_column_stride, mask, 0.0)
    value = value if value.dtype == tl.float64 else value.to(tl.float32)
    return tl.where(value > 1e30, 1e30, value)  # it may be +inf, and this is more than any k already


@triton.jit
def read_costs(image, g, j, mask, RULE: tl.constexpr):
    cost = tl.load(image.cost + g * image.cost_row_stride + j * image.cost_column_stride, mask, 0.0)
    return tl.where(mask, cost.to(tl.float64), float("inf"))


@triton.jit(do_not_specialize=[*NUMBERS, "topk"])
def take_anchors(
    matched_gt,  # [B, N], NOBODY before
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
    BLOCK: tl.constexpr,
):
    """One ground truth of one image."""
    program = tl.program_id(0).to(tl.int64)
    b, g = program // G, program % G
    if g < count_gts(num_gts, b, G):
        cost += b * cost_image_stride
        iou += b * iou_image_stride
        image = Image(cost, cost_row_stride, cost_column_stride, iou, iou_row_stride, iou_column_stride, N)
        owner = matched_gt + b * N
        take_preferred(owner, image, g, N, topk, read_columns, read_overlaps, read_costs, K_ROUNDING, None, BLOCK)


@triton.jit(do_not_specialize=NUMBERS)
def settle_anchors(
    matched_gt,  # [B, N]
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
    TILE: tl.constexpr,
):
    """A tile of one image's anchors."""
    b, j = locate_tile(N, TILE)
    cost += b * cost_image_stride
    iou += b * iou_image_stride
    image = Image(cost, cost_row_stride, cost_column_stride, iou, iou_row_stride, iou_column_stride, N)
    owner = tl.load(matched_gt + b * N + j, j < N, NOBODY)
    owner = settle_conflicts(image, count_gts(num_gts, b, G), j, owner, read_costs, None)
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
    matched_gt = cost.new_full((B, N), NOBODY.value, dtype=torch.int64)
    matched_iou = cost.new_empty((B, N), dtype=torch.float32)
    num_fg = cost.new_zeros(B, dtype=torch.int64)
    args = (matched_gt, cost, *cost.stride(), iou, *iou.stride(), counts, G, N)
    launch(take_anchors, B * G, *args, min(topk, N), K_ROUNDING=k_rounding, BLOCK=BLOCK)
    launch(settle_anchors, B * blocks(N, TILE), *args, matched_iou, num_fg, TILE=TILE)
    return matched_gt, matched_iou, num_fg
