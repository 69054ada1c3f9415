"""The rows that ota transports from: of each ground truth that has pairs, the list of them and the supply."""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from yolox_ops.triton.batch import NUMBERS, Image, load_anchors, load_gt, load_overlaps
from yolox_ops.triton.mark import classify_anchor
from yolox_ops.triton.matching import dynamic_k, sum_largest
from yolox_ops.triton.ota_pairs import OtaNumbers, load_pairs, read_numbers

SIZES = tl.constexpr(64)  # ground truths whose numbers of pairs are looked at side by side


class Row(NamedTuple):
    """The anchors that matching.sum_largest looks at: those of a list, or all."""

    image: Any  # Image
    listed: bool
    begin: int  # in the list
    size: int


@triton.jit
def read_columns(row, first, BLOCK: tl.constexpr):
    image = row.image
    slot = first + tl.arange(0, BLOCK)
    there = slot < row.size
    anchor = tl.load(image.batch.pair_anchor + row.begin + slot, there & row.listed, 0) - image.b * (image.N + 1)
    return tl.where(row.listed, anchor, slot), there


@triton.jit
def read_overlaps(row, g, j, mask, RULE: tl.constexpr):
    gt, _label, _present = load_gt(row.image, g, RULE)
    _candidate, inside = classify_anchor(load_anchors(row.image, j, mask, RULE), gt, RULE)
    return tl.where(mask & inside, load_overlaps(row.image, g, j, mask & inside, RULE), 0.0)


@triton.jit
def locate_row(
    sizes,  # [G], of the image
    g,
    G,
):
    """The row of ground truth g of an image, and where in the list its pairs begin."""
    far = tl.load(sizes + g) < 0
    row, begin = tl.full((), 0, tl.int64), tl.full((), 0, tl.int64)
    first = tl.full((), 0, tl.int64)
    while first < G:
        other = first + tl.arange(0, SIZES)
        size = tl.load(sizes + other, other < G, 0).to(tl.int64)
        before = tl.where(far, (size > 0) | (other < g), (size > 0) & (other < g))
        before = (before & (size != 0)).to(tl.int64)
        row += tl.sum(before, 0)
        begin += tl.sum(before * tl.abs(size), 0)
        first += SIZES
    return row, begin


@triton.jit
def store_pairs(image, g, far, row, listed, begin, RULE: tl.constexpr, BLOCK: tl.constexpr):
    """Lists the pairs of ground truth g from `begin` on, if they are to be listed; whether one of them has a cost."""
    batch, b, N = image.batch, image.b, image.N
    able = tl.full((), 0, tl.int32)
    filled = tl.full((), 0, tl.int64)
    first = tl.full((), 0, tl.int64)
    while first < N:
        j = first + tl.arange(0, BLOCK)
        mask, scaled = load_pairs(image, g, far, j, RULE)
        able = tl.maximum(able, tl.max((scaled < float("inf")).to(tl.int32), 0))
        rank = tl.cumsum(mask.to(tl.int32), 0)
        pair = begin + filled + rank - 1
        tl.store(batch.pair_anchor + pair, b * (N + 1) + j, mask & listed)
        tl.store(batch.pair_row + pair, row, mask & listed)
        tl.store(batch.pair_cost + pair, scaled, mask & listed)
        filled += tl.max(rank, 0)
        first += BLOCK
    return able


@triton.jit(do_not_specialize=[*NUMBERS, *OtaNumbers._fields, "capacity", "topk"])
def list_pairs(
    sizes,  # [B, G]
    batch,
    cls_image_stride,
    cls_anchor_stride,
    cls_class_stride,
    N,
    C,
    G,
    center_radius: tl.int64,
    iou_weight: tl.int64,
    focal_alpha: tl.int64,
    focal_gamma: tl.int64,
    per_epsilon: tl.float64,
    capacity,
    topk,
    RULE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The row of one ground truth of one image: its pairs and its supply."""
    program = tl.program_id(0).to(tl.int64)
    b, g = program // G, program % G
    numbers = read_numbers(center_radius, iou_weight, focal_alpha, focal_gamma, per_epsilon, RULE)
    image = Image(batch, cls_image_stride, cls_anchor_stride, cls_class_stride, N, C, G, b, numbers)
    size = tl.load(sizes + program)
    if size != 0:
        row, begin = locate_row(sizes + b * G, g, G)
        listed = begin + tl.abs(size) <= capacity
        row += b * G
        begin += b * capacity
        able = store_pairs(image, g, size < 0, row, listed, begin, RULE, BLOCK)
        tl.debug_barrier()  # other threads of the program read the list next
        columns = tl.where(listed, tl.abs(size), N)
        lists = Row(image, listed, begin, columns)
        total = sum_largest(lists, g, columns, topk, read_columns, read_overlaps, RULE, BLOCK)
        k = dynamic_k(total, N, "down")
        tl.store(batch.row_gt + row, g)
        tl.store(batch.row_begin + row, tl.where(listed, begin, -1))
        tl.store(batch.row_size + row, tl.abs(size))
        tl.store(batch.row_supply + row, tl.where(able > 0, k, 0).to(tl.float64))
