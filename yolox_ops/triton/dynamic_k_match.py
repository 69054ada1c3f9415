"""dynamic_k_match in Triton."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops.ops.dynamic_k_match import check
from yolox_ops.triton.launch import blocks, launch
from yolox_ops.triton.matching import BLOCK, NOBODY, TILE, count_gts, settle, store_match, take

# Numbers that kernels take; see NUMBERS of candidates.py.
NUMBERS = ["cost_image", "cost_row", "cost_column", "iou_image", "iou_row", "iou_column", "G", "N", "topk"]


@triton.jit
def columns(matrix, first, BLOCK: tl.constexpr):
    j = first + tl.arange(0, BLOCK).to(tl.int64)
    return j, j < matrix[6]


@triton.jit
def overlaps(matrix, g, j, mask, RULE: tl.constexpr):
    _costs, _row, _column, iou, row, column, _N = matrix
    value = tl.load(iou + g * row + j * column, mask, 0.0)
    value = value if value.dtype == tl.float64 else value.to(tl.float32)
    return tl.where(value > 1e30, 1e30, value)  # it may be +inf, and this is more than any k already


@triton.jit
def costs(matrix, g, j, mask, RULE: tl.constexpr):
    cost, row, column, _iou, _row, _column, _N = matrix
    return tl.where(mask, tl.load(cost + g * row + j * column, mask, 0.0).to(tl.float64), float("inf"))


@triton.jit(do_not_specialize=NUMBERS)
def match(
    matched_gt, cost, cost_image, cost_row, cost_column, iou, iou_image, iou_row, iou_column, num_gts, G, N, topk,
    K_ROUNDING: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One ground truth of one image."""
    program = tl.program_id(0).to(tl.int64)
    b, g = program // G, program % G
    if g < count_gts(num_gts, b, G):
        matrix = (cost + b * cost_image, cost_row, cost_column, iou + b * iou_image, iou_row, iou_column, N)
        take(matched_gt + b * N, matrix, g, N, topk, columns, overlaps, costs, K_ROUNDING, None, BLOCK)


@triton.jit(do_not_specialize=NUMBERS)
def finish(
    matched_gt, cost, cost_image, cost_row, cost_column, iou, iou_image, iou_row, iou_column, num_gts, G, N, topk,
    matched_iou, num_fg, TILE: tl.constexpr,
):  # fmt: skip
    """A tile of one image's anchors."""
    program = tl.program_id(0).to(tl.int64)
    b = program // tl.cdiv(N, TILE)
    j = program % tl.cdiv(N, TILE) * TILE + tl.arange(0, TILE)
    matrix = (cost + b * cost_image, cost_row, cost_column, iou + b * iou_image, iou_row, iou_column, N)
    owner = tl.load(matched_gt + b * N + j, j < N, NOBODY)
    owner = settle(matrix, count_gts(num_gts, b, G), j, owner, costs, None)
    overlap = tl.load(iou + b * iou_image + owner * iou_row + j * iou_column, owner >= 0, 0.0)
    store_match(matched_gt, matched_iou, num_fg, b, b * N + j, j < N, owner, overlap)


def dynamic_k_match(
    cost: Tensor, iou: Tensor, num_gts: Tensor | None, topk: int, k_rounding: str
) -> tuple[Tensor, Tensor, Tensor]:
    check(cost, iou, num_gts, topk, k_rounding)
    B, G, N = cost.shape
    counts = cost.new_full((B,), G, dtype=torch.int64) if num_gts is None else num_gts.contiguous()
    matched_gt = cost.new_full((B, N), NOBODY.value, dtype=torch.int64)
    matched_iou = cost.new_empty((B, N), dtype=torch.float32)
    num_fg = cost.new_zeros(B, dtype=torch.int64)
    args = (matched_gt, cost, *cost.stride(), iou, *iou.stride(), counts, G, N, min(topk, N))
    launch(match, B * G, *args, K_ROUNDING=k_rounding, BLOCK=BLOCK)
    launch(finish, B * blocks(N, TILE), *args, matched_iou, num_fg, TILE=TILE)
    return matched_gt, matched_iou, num_fg
