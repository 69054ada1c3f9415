"""What the transport of ota keeps, and how it begins: pairs by anchor, potentials, and the lists it goes through."""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from yolox_ops.triton.log_sum import add_terms

OUTSIDE_PENALTY = tl.constexpr(1e6)


class Plan(NamedTuple):
    """Pairs by anchor, potentials, and what is found with them; pointers, to kernels. Named as in OtaBatch."""

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
        pair = begin[:, None] + first + step
        there = first + step < size[:, None]
        other = tl.load(others + pair, there, 0)
        terms = tl.load(potentials + other, there, 0.0) - tl.load(costs + pair, there, float("inf"))
        top, total = add_terms(top, total, terms, 1, T)
        first += PAIRS
    return top, total


@triton.jit
def count_rows(
    sizes,  # [B, G]
    image,
    plan,
    BLOCK: tl.constexpr,
):
    """How many rows are near, listed, and all, and what they supply together; their potentials to begin with."""
    batch, b, G = image.batch, image.b, image.G
    near, listed, rows = tl.full((), 0, tl.int64), tl.full((), 0, tl.int64), tl.full((), 0, tl.int64)
    supply = tl.full((), 0.0, tl.float64)
    first = tl.full((), 0, tl.int64)
    while first < G:
        g = first + tl.arange(0, BLOCK)
        size = tl.load(sizes + b * G + g, g < G, 0)
        near += tl.sum((size > 0).to(tl.int64), 0)
        rows += tl.sum((size != 0).to(tl.int64), 0)
        listed += tl.sum((tl.load(batch.row_begin + b * G + g, g < G, -1) >= 0).to(tl.int64), 0)
        supply += tl.sum(tl.load(batch.row_supply + b * G + g, g < G, 0.0), 0)
        first += BLOCK
    first = tl.full((), 0, tl.int64)
    while first < rows:
        row = first + tl.arange(0, BLOCK)
        far = -OUTSIDE_PENALTY * image.numbers.per_epsilon
        tl.store(plan.x + b * G + row, tl.where(row < near, 0.0, far), row < rows)
        first += BLOCK
    tl.store(plan.counts + b * 3, near)
    tl.store(plan.counts + b * 3 + 1, listed)
    tl.store(plan.counts + b * 3 + 2, rows)
    return near, listed, rows, supply


@triton.jit
def list_columns(image, plan, every, BLOCK: tl.constexpr):
    """Lists the anchors that have pairs, or all; how many these are."""
    b, N = image.b, image.N
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
