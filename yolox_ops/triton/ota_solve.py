"""The transport of ota, all iterations of it: an image is one program's work. Its rows are ground truths and the
background, its columns the anchors that a ground truth has a pair with, and the rest as one, which the background alone
serves at no cost."""

import math

import triton
import triton.language as tl

from yolox_ops.triton.batch import NUMBERS, Image
from yolox_ops.triton.log_sum import TINY_MASS, add_terms, potential, unsettled
from yolox_ops.triton.ota_pairs import OtaNumbers, load_pairs, read_numbers
from yolox_ops.triton.ota_plan import add_lists, count_rows, list_columns

LOG_DEMAND = tl.constexpr(math.log1p(TINY_MASS.value))  # of an anchor


@triton.jit
def add_unlisted_rows(top, total, image, plan, near, listed, rows, anchor, there, RULE: tl.constexpr):
    """add_terms for some columns, of the rows whose pairs are not listed."""
    batch, b = image.batch, image.b
    row = listed
    while row < rows:
        g = tl.load(batch.row_gt + b * image.G + row)
        _mask, scaled = load_pairs(image, g, row >= near, anchor - b * (image.N + 1), RULE)
        terms = tl.where(there, tl.load(plan.x + b * image.G + row) - scaled, float("-inf"))
        top, total = add_terms(top, total, terms[:, None], 1, RULE.dtype)
        row += 1
    return top, total


@triton.jit
def add_all_columns(top, total, image, plan, row, far, RULE: tl.constexpr, BLOCK: tl.constexpr):
    """add_terms for one row whose pairs are not listed."""
    b, N = image.b, image.N
    g = tl.load(image.batch.row_gt + row)
    first = tl.full((), 0, tl.int64)
    while first < N:
        j = first + tl.arange(0, BLOCK)
        mask, scaled = load_pairs(image, g, far, j, RULE)
        terms = tl.load(plan.y + b * (N + 1) + j, mask, 0.0) - scaled
        top, total = add_terms(top, total, terms[None, :], 1, RULE.dtype)
        first += BLOCK
    return top, total


@triton.jit
def set_columns(
    image, plan, near, listed, rows, columns, background,
    RULE: tl.constexpr, COLUMNS: tl.constexpr, COLUMN_PAIRS: tl.constexpr,
):  # fmt: skip
    """New potentials of columns; what the background would carry to them at potential 0, as add_terms has it."""
    b, N = image.b, image.N
    by_anchor = (plan.costs, plan.rows, plan.x)
    background_total = (N - columns).to(tl.float64)  # the rest
    background_top = tl.where(background_total > 0.0, LOG_DEMAND - background, float("-inf"))
    first = tl.full((), 0, tl.int64)
    while first < columns:
        there = first + tl.arange(0, COLUMNS) < columns
        anchor = tl.load(plan.columns + b * N + first + tl.arange(0, COLUMNS), there, 0)
        begin = tl.load(plan.begin + anchor, there, 0)
        size = tl.load(plan.begin + anchor + 1, there, 0) - begin
        top, total = tl.full((COLUMNS,), 0.0, tl.float64) + background, tl.full((COLUMNS,), 1.0, tl.float64)
        top, total = add_lists(top, total, begin, size, by_anchor, COLUMN_PAIRS, RULE.dtype)
        top, total = add_unlisted_rows(top, total, image, plan, near, listed, rows, anchor, there, RULE)
        y = potential(LOG_DEMAND, top, total)
        tl.store(plan.y + anchor, y, there)
        y = tl.where(there, y, float("-inf"))
        background_top, background_total = add_terms(background_top, background_total, y, 0, RULE.dtype)
        first += COLUMNS
    return background_top, background_total


@triton.jit
def store_rows(image, plan, row, there, top, total, tolerance):
    """New potentials of rows; whether one of them did not hold what it should."""
    new = potential(tl.log(tl.load(image.batch.row_supply + row, there, 0.0) + TINY_MASS), top, total)
    missed = tl.full((), 0, tl.int32)
    if tolerance > 0.0:
        missed = tl.max((there & unsettled(tl.load(plan.x + row, there, 0.0), new, top, tolerance)).to(tl.int32), 0)
        tl.debug_barrier()  # until all threads that hold a row have read its old potential
    tl.store(plan.x + row, new, there)
    tl.store(plan.top + row, top, there)
    return missed


@triton.jit
def set_short_rows(image, plan, short, tolerance, RULE: tl.constexpr, ROWS: tl.constexpr, ROW_PAIRS: tl.constexpr):
    """The first rows, side by side."""
    batch = image.batch
    by_row = (batch.pair_cost, batch.pair_anchor, plan.y)
    missed = tl.full((), 0, tl.int32)
    first = tl.full((), 0, tl.int64)
    while first < short:
        slot = first + tl.arange(0, ROWS)
        row, there = image.b * image.G + slot, slot < short
        begin = tl.load(batch.row_begin + row, there, 0)
        size = tl.where(there, tl.load(batch.row_size + row, there, 0), 0)
        top, total = tl.full((ROWS,), float("-inf"), tl.float64), tl.full((ROWS,), 0.0, tl.float64)
        top, total = add_lists(top, total, begin, size, by_row, ROW_PAIRS, RULE.dtype)
        missed |= store_rows(image, plan, row, there, top, total, tolerance)
        first += ROWS
    return missed


@triton.jit
def set_long_rows(image, plan, short, near, listed, rows, tolerance, RULE: tl.constexpr, BLOCK: tl.constexpr):
    """The other rows one by one, each in large steps."""
    batch = image.batch
    by_row = (batch.pair_cost, batch.pair_anchor, plan.y)
    one = tl.arange(0, 1)
    missed = tl.full((), 0, tl.int32)
    slot = short
    while slot < rows:
        row = image.b * image.G + slot
        top, total = tl.full((1,), float("-inf"), tl.float64), tl.full((1,), 0.0, tl.float64)
        if slot < listed:
            begin, size = tl.load(batch.row_begin + row + one), tl.load(batch.row_size + row + one)
            top, total = add_lists(top, total, begin, size, by_row, BLOCK, RULE.dtype)
        else:
            top, total = add_all_columns(top, total, image, plan, row, slot >= near, RULE, BLOCK)
        missed |= store_rows(image, plan, row + one, one < 1, top, total, tolerance)
        slot += 1
    return missed


@triton.jit(do_not_specialize=[*NUMBERS, *OtaNumbers._fields, "iterations"])
def solve(
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
    plan,
    iterations,
    tolerance: tl.float64,
    RULE: tl.constexpr,
    ROWS: tl.constexpr,
    ROW_PAIRS: tl.constexpr,
    COLUMNS: tl.constexpr,
    COLUMN_PAIRS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One image."""
    b = tl.program_id(0).to(tl.int64)
    numbers = read_numbers(center_radius, iou_weight, focal_alpha, focal_gamma, per_epsilon, RULE)
    image = Image(batch, cls_image_stride, cls_anchor_stride, cls_class_stride, N, C, G, b, numbers)
    near, listed, rows, supply = count_rows(sizes, image, plan, BLOCK)
    columns = list_columns(image, plan, listed < rows, BLOCK)
    tl.debug_barrier()  # here and below: other threads of the program read next what these have written
    log_supply = tl.log(tl.maximum(N - supply, 0.0) + TINY_MASS)
    background, background_top = tl.full((), 0.0, tl.float64), tl.full((), 0.0, tl.float64)
    missed = (rows > 0).to(tl.int32)
    t = tl.full((), 0, tl.int32)
    short = tl.minimum(tl.where(N <= BLOCK, rows, near), listed)  # that go side by side
    while (t < iterations) & (missed > 0):
        background_top, background_total = set_columns(
            image, plan, near, listed, rows, columns, background, RULE, COLUMNS, COLUMN_PAIRS
        )
        tl.debug_barrier()
        new = potential(log_supply, background_top, background_total)
        missed = unsettled(background, new, background_top, tolerance).to(tl.int32)
        background = new
        missed |= set_short_rows(image, plan, short, tolerance, RULE, ROWS, ROW_PAIRS)
        missed |= set_long_rows(image, plan, short, near, listed, rows, tolerance, RULE, BLOCK)
        missed = tl.where((t == 0) | (tolerance == 0.0), 1, missed)
        tl.debug_barrier()
        t += 1
    tl.store(plan.background_top + b, background_top)
