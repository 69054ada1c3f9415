"""The pairs of ground truths and anchors that ota transports along, listed by ground truth.

A ground truth's pairs are with the anchors in its region, or, if none of those has a finite cost, with all anchors:
then it is far. The ground truths of an image that have pairs are its rows, first those that are near, then those that
are far, each in their order. Rows are listed as long as an image's capacity lasts. The pairs of the rest are found anew
whenever they are looked at: slow, but memory is bounded by anchors and ground truths and not by their product."""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from yolox_ops.triton.candidates import NUMBERS, load_anchors, load_gt, load_overlaps, place
from yolox_ops.triton.log_sum import over_epsilon
from yolox_ops.triton.matching import dynamic_k, sum_of_top
from yolox_ops.triton.numeric import exp_scaled, log_scaled
from yolox_ops.triton.scores import entropies, softplus_of_minus

SIZES = tl.constexpr(64)  # ground truths whose numbers of pairs are looked at side by side
LEAST_IOU = tl.constexpr(2.0**-23)  # float32's epsilon


class OtaRule(NamedTuple):
    """What kernels are compiled for; named as scores.Rule has it."""

    dtype: tl.dtype
    shift: int
    has_obj: bool
    center_radius: float
    iou_weight: float
    focal_alpha: float
    focal_gamma: float
    per_epsilon: float
    candidates: str = "box_and_center"


class Problem(NamedTuple):
    """The tensors of a batch, as in candidates.Scene, and what is to be transported; pointers, to kernels. A pair's
    anchor is named b * (N + 1) + j, its row b * G + row."""

    pred_boxes: Tensor
    cls_logits: Tensor
    obj_logits: Tensor
    anchor_points: Tensor
    strides: Tensor
    gt_boxes: Tensor
    gt_labels: Tensor
    num_gts: Tensor
    row_gt: Tensor  # [B, G], of rows
    row_begin: Tensor  # [B, G], of rows: where in the list its pairs begin, -1 if they are not listed
    row_size: Tensor  # [B, G], of rows: how many pairs they have
    row_supply: Tensor  # [B, G], of rows, float64
    pair_anchor: Tensor  # [B * capacity], B * (N + 1) where there is no pair
    pair_row: Tensor  # [B * capacity]
    pair_cost: Tensor  # [B * capacity], over that of the background, divided by epsilon; +inf for a NaN


# Below, `matrix` is one image's (problem, cls_image, cls_anchor, cls_class, b, N, C, G).
@triton.jit
def load_pairs(matrix, g, far, j, RULE: tl.constexpr):
    """Which anchors j ground truth g has a pair with, and their costs as they are listed, +inf where there is none. The
    penalty that a far one pays for all of them cancels."""
    problem, cls_image, cls_anchor, cls_class, b, N, C, G = matrix
    gt, label, present = load_gt(problem, b, g, C, G, RULE)
    _near, inside = place(load_anchors(problem, j, j < N, RULE), gt, RULE)
    mask = tl.where(present & (far | inside), j < N, False)
    scaled = tl.full(j.shape, float("inf"), tl.float64)
    if tl.max(mask.to(tl.int32), 0) > 0:
        logits = problem.cls_logits + b * cls_image + j * cls_anchor + label * cls_class
        logit = tl.load(logits, mask, 0.0).to(RULE.dtype)
        if RULE.has_obj:
            obj = tl.load(problem.obj_logits + b * N + j, mask, 0.0).to(RULE.dtype)
            positive, negative = entropies(logit, exp_scaled(-obj, RULE.shift), softplus_of_minus(obj), RULE)
        else:
            positive, negative = entropies(logit, logit, logit, RULE)
        # p^gamma and (1 - p)^gamma
        p_power, rest_power = exp_scaled(positive * -RULE.focal_gamma, 0), exp_scaled(negative * -RULE.focal_gamma, 0)
        focal = rest_power * positive * RULE.focal_alpha - p_power * negative * (1.0 - RULE.focal_alpha)
        overlap = load_overlaps(matrix, g, j, mask, RULE)
        cost = focal - log_scaled(tl.where(overlap < LEAST_IOU, LEAST_IOU, overlap), 0) * RULE.iou_weight
        scaled = tl.where(mask, over_epsilon(cost, RULE.per_epsilon), float("inf"))
    return mask, scaled


@triton.jit(do_not_specialize=NUMBERS)
def count_pairs(sizes, problem, cls_image, cls_anchor, cls_class, N, C, G, RULE: tl.constexpr, BLOCK: tl.constexpr):
    """One ground truth of one image: how many pairs it has, negative if it is far, 0 if there is none such."""
    program = tl.program_id(0).to(tl.int64)
    b, g = program // G, program % G
    matrix = (problem, cls_image, cls_anchor, cls_class, b, N, C, G)
    _gt, _label, present = load_gt(problem, b, g, C, G, RULE)
    pairs, finite = tl.full((), 0, tl.int32), tl.full((), 0, tl.int32)
    if present:
        first = tl.full((), 0, tl.int64)
        while first < N:
            mask, scaled = load_pairs(matrix, g, g < 0, first + tl.arange(0, BLOCK), RULE)
            pairs += tl.sum(mask.to(tl.int32), 0)
            finite += tl.sum((scaled < float("inf")).to(tl.int32), 0)
            first += BLOCK
        pairs = tl.where(finite > 0, pairs, -N)
    tl.store(sizes + program, pairs)


@triton.jit
def place_row(sizes, g, G):
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


# What sum_of_top in matching.py takes: the anchors of a list, or all.
@triton.jit
def columns(row, first, BLOCK: tl.constexpr):
    matrix, listed, pairs, size = row
    problem, _image, _anchor, _class, b, N, _C, _G = matrix
    at = first + tl.arange(0, BLOCK)
    there = at < size
    anchor = tl.load(problem.pair_anchor + pairs + at, there & listed, 0) - b * (N + 1)
    return tl.where(listed, anchor, at), there


@triton.jit
def overlaps(row, g, j, mask, RULE: tl.constexpr):
    matrix, _listed, _pairs, _size = row
    problem, _image, _anchor, _class, b, _N, C, G = matrix
    gt, _label, _present = load_gt(problem, b, g, C, G, RULE)
    _near, inside = place(load_anchors(problem, j, mask, RULE), gt, RULE)
    return tl.where(mask & inside, load_overlaps(matrix, g, j, mask & inside, RULE), 0.0)


@triton.jit(do_not_specialize=[*NUMBERS, "capacity", "topk"])
def list_pairs(
    sizes, problem, cls_image, cls_anchor, cls_class, N, C, G, capacity, topk, RULE: tl.constexpr, BLOCK: tl.constexpr
):
    """The row of one ground truth of one image: its pairs and its supply."""
    program = tl.program_id(0).to(tl.int64)
    b, g = program // G, program % G
    matrix = (problem, cls_image, cls_anchor, cls_class, b, N, C, G)
    size = tl.load(sizes + program)
    if size != 0:
        row, begin = place_row(sizes + b * G, g, G)
        listed = begin + tl.abs(size) <= capacity
        pairs = b * capacity + begin
        able = tl.full((), 0, tl.int32)
        filled = tl.full((), 0, tl.int64)
        first = tl.full((), 0, tl.int64)
        while first < N:
            j = first + tl.arange(0, BLOCK)
            mask, scaled = load_pairs(matrix, g, size < 0, j, RULE)
            able = tl.maximum(able, tl.max((scaled < float("inf")).to(tl.int32), 0))
            rank = tl.cumsum(mask.to(tl.int32), 0)
            at = pairs + filled + rank - 1
            tl.store(problem.pair_anchor + at, b * (N + 1) + j, mask & listed)
            tl.store(problem.pair_row + at, b * G + row, mask & listed)
            tl.store(problem.pair_cost + at, scaled, mask & listed)
            filled += tl.max(rank, 0)
            first += BLOCK
        tl.debug_barrier()  # other threads of the program read the list next
        looked_at = tl.where(listed, tl.abs(size), N)
        lists = (matrix, listed, pairs, looked_at)
        total = sum_of_top(lists, g, looked_at, topk, columns, overlaps, RULE, BLOCK)
        k = dynamic_k(total, N, "down")
        tl.store(problem.row_gt + b * G + row, g)
        tl.store(problem.row_begin + b * G + row, tl.where(listed, pairs, -1))
        tl.store(problem.row_size + b * G + row, tl.abs(size))
        tl.store(problem.row_supply + b * G + row, tl.where(able > 0, k, 0).to(tl.float64))
