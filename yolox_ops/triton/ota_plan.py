"""The transport of ota, all iterations of it: an image is one program's work."""

import math
from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from yolox_ops.triton.candidates import NUMBERS
from yolox_ops.triton.log_sum import TINY, add_terms, potential, unsettled
from yolox_ops.triton.ota_pairs import load_pairs

OUTSIDE_PENALTY = tl.constexpr(1e6)
TINY_MASS = tl.constexpr(TINY)
LOG_DEMAND = tl.constexpr(math.log1p(TINY))  # of an anchor


class Plan(NamedTuple):
    """Pairs by anchor, potentials, and what is found with them; pointers, to kernels. Named as in Problem."""

    begin: Tensor  # [B * (N + 1) + 1], of an anchor: where its pairs begin, which end where the next one's begin
    rows: Tensor  # [B * capacity], the pairs' rows
    costs: Tensor  # [B * capacity], and costs
    columns: Tensor  # [B, N], the anchors that a row has a pair with
    x: Tensor  # [B, G], potentials of rows, float64 as all of these
    y: Tensor  # [B, N + 1], of columns
    top: Tensor  # [B, G], the largest y - cost of a row
    background_top: Tensor  # [B], that of the background, which costs nothing
    counts: Tensor  # [B, 3], rows that are near, listed, and all


@triton.jit
def add_lists(top, total, begin, size, lists, PAIRS: tl.constexpr, T: tl.constexpr):
    """add_terms for some rows or columns whose pairs are listed from `begin` on. `lists` has the pairs' costs, what
    they are with, and the potentials of that."""
    costs, others, potentials = lists
    longest = tl.max(size, 0)
    step = tl.arange(0, PAIRS)[None, :]
    first = tl.full((), 0, tl.int64)
    while first < longest:
        at = begin[:, None] + first + step
        there = first + step < size[:, None]
        other = tl.load(others + at, there, 0)
        terms = tl.load(potentials + other, there, 0.0) - tl.load(costs + at, there, float("inf"))
        top, total = add_terms(top, total, terms, 1, T)
        first += PAIRS
    return top, total


@triton.jit
def count_rows(sizes, problem, plan, b, N, G, RULE: tl.constexpr, BLOCK: tl.constexpr):
    """How many rows are near, listed, and all, and what they supply together; their potentials to begin with."""
    near, listed, rows = tl.full((), 0, tl.int64), tl.full((), 0, tl.int64), tl.full((), 0, tl.int64)
    supply = tl.full((), 0.0, tl.float64)
    first = tl.full((), 0, tl.int64)
    while first < G:
        g = first + tl.arange(0, BLOCK)
        size = tl.load(sizes + b * G + g, g < G, 0)
        near += tl.sum((size > 0).to(tl.int64), 0)
        rows += tl.sum((size != 0).to(tl.int64), 0)
        listed += tl.sum((tl.load(problem.row_begin + b * G + g, g < G, -1) >= 0).to(tl.int64), 0)
        supply += tl.sum(tl.load(problem.row_supply + b * G + g, g < G, 0.0), 0)
        first += BLOCK
    first = tl.full((), 0, tl.int64)
    while first < rows:
        row = first + tl.arange(0, BLOCK)
        tl.store(plan.x + b * G + row, tl.where(row < near, 0.0, -OUTSIDE_PENALTY * RULE.per_epsilon), row < rows)
        first += BLOCK
    tl.store(plan.counts + b * 3, near)
    tl.store(plan.counts + b * 3 + 1, listed)
    tl.store(plan.counts + b * 3 + 2, rows)
    return near, listed, rows, supply


@triton.jit
def list_columns(plan, b, N, every, BLOCK: tl.constexpr):
    """Lists the anchors that have pairs, or all; how many these are."""
    count = tl.full((), 0, tl.int64)
    first = tl.full((), 0, tl.int64)
    while first < N:
        j = first + tl.arange(0, BLOCK)
        anchor = b * (N + 1) + j
        begin = tl.load(plan.begin + anchor, j < N, 0)
        used = ((tl.load(plan.begin + anchor + 1, j < N, 0) > begin) | every) & (j < N)
        rank = tl.cumsum(used.to(tl.int32), 0)
        tl.store(plan.columns + b * N + count + rank - 1, anchor, used)
        count += tl.max(rank, 0)
        first += BLOCK
    return count


@triton.jit
def set_rows(problem, plan, row, there, top, total, tolerance):
    """New potentials of rows; whether one of them did not hold what it should."""
    new = potential(tl.log(tl.load(problem.row_supply + row, there, 0.0) + TINY_MASS), top, total)
    missed = tl.full((), 0, tl.int32)
    if tolerance > 0.0:
        missed = tl.max((there & unsettled(tl.load(plan.x + row, there, 0.0), new, top, tolerance)).to(tl.int32), 0)
        tl.debug_barrier()  # until all threads that hold a row have read its old potential
    tl.store(plan.x + row, new, there)
    tl.store(plan.top + row, top, there)
    return missed


@triton.jit(do_not_specialize=[*NUMBERS, "iterations"])
def solve(
    sizes, problem, cls_image, cls_anchor, cls_class, N, C, G, plan, iterations, tolerance: tl.float64,
    RULE: tl.constexpr, ROWS: tl.constexpr, ROW_PAIRS: tl.constexpr, COLUMNS: tl.constexpr, COLUMN_PAIRS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """One image: rows are ground truths and the background, columns the anchors that a ground truth has a pair with,
    and the rest as one, which the background alone serves at no cost."""
    b = tl.program_id(0).to(tl.int64)
    matrix = (problem, cls_image, cls_anchor, cls_class, b, N, C, G)
    near, listed, rows, supply = count_rows(sizes, problem, plan, b, N, G, RULE, BLOCK)
    columns = list_columns(plan, b, N, listed < rows, BLOCK)
    tl.debug_barrier()  # here and below: other threads of the program read next what these have written
    log_supply = tl.log(tl.maximum(N - supply, 0.0) + TINY_MASS)
    background, background_top = tl.full((), 0.0, tl.float64), tl.full((), 0.0, tl.float64)
    one = tl.arange(0, 1)
    missed = (rows > 0).to(tl.int32)
    t = tl.full((), 0, tl.int32)
    short = tl.minimum(tl.where(N <= BLOCK, rows, near), listed)  # that go side by side
    by_anchor = (plan.costs, plan.rows, plan.x)
    by_row = (problem.pair_cost, problem.pair_anchor, plan.y)
    while (t < iterations) & (missed > 0):
        free = (N - columns).to(tl.float64)
        background_top = tl.where(free > 0.0, LOG_DEMAND - background, float("-inf"))
        background_total = free
        first = tl.full((), 0, tl.int64)
        while first < columns:
            there = first + tl.arange(0, COLUMNS) < columns
            anchor = tl.load(plan.columns + b * N + first + tl.arange(0, COLUMNS), there, 0)
            begin = tl.load(plan.begin + anchor, there, 0)
            size = tl.load(plan.begin + anchor + 1, there, 0) - begin
            top, total = tl.full((COLUMNS,), 0.0, tl.float64) + background, tl.full((COLUMNS,), 1.0, tl.float64)
            top, total = add_lists(top, total, begin, size, by_anchor, COLUMN_PAIRS, RULE.dtype)
            row = listed
            while row < rows:
                g = tl.load(problem.row_gt + b * G + row)
                _mask, scaled = load_pairs(matrix, g, row >= near, anchor - b * (N + 1), RULE)
                terms = tl.where(there, tl.load(plan.x + b * G + row) - scaled, float("-inf"))
                top, total = add_terms(top, total, terms[:, None], 1, RULE.dtype)
                row += 1
            y = potential(LOG_DEMAND, top, total)
            tl.store(plan.y + anchor, y, there)
            y = tl.where(there, y, float("-inf"))
            background_top, background_total = add_terms(background_top, background_total, y, 0, RULE.dtype)
            first += COLUMNS
        tl.debug_barrier()
        new = potential(log_supply, background_top, background_total)
        missed = unsettled(background, new, background_top, tolerance).to(tl.int32)
        background = new
        first = tl.full((), 0, tl.int64)
        while first < short:
            place = first + tl.arange(0, ROWS)
            row, there = b * G + place, place < short
            begin = tl.load(problem.row_begin + row, there, 0)
            size = tl.where(there, tl.load(problem.row_size + row, there, 0), 0)
            top, total = tl.full((ROWS,), float("-inf"), tl.float64), tl.full((ROWS,), 0.0, tl.float64)
            top, total = add_lists(top, total, begin, size, by_row, ROW_PAIRS, RULE.dtype)
            missed |= set_rows(problem, plan, row, there, top, total, tolerance)
            first += ROWS
        first = short
        while first < rows:  # one by one, each in large steps
            row = b * G + first + one
            top, total = tl.full((1,), float("-inf"), tl.float64), tl.full((1,), 0.0, tl.float64)
            if first < listed:
                begin = tl.load(problem.row_begin + row)
                size = tl.load(problem.row_size + row)
                top, total = add_lists(top, total, begin, size, by_row, BLOCK, RULE.dtype)
            else:
                g = tl.load(problem.row_gt + b * G + first)
                start = tl.full((), 0, tl.int64)
                while start < N:
                    j = start + tl.arange(0, BLOCK)
                    mask, scaled = load_pairs(matrix, g, first >= near, j, RULE)
                    terms = tl.load(plan.y + b * (N + 1) + j, mask, 0.0) - scaled
                    top, total = add_terms(top, total, terms[None, :], 1, RULE.dtype)
                    start += BLOCK
            missed |= set_rows(problem, plan, row, one < 1, top, total, tolerance)
            first += 1
        missed = tl.where((t == 0) | (tolerance == 0.0), 1, missed)
        tl.debug_barrier()
        t += 1
    tl.store(plan.background_top + b, background_top)
