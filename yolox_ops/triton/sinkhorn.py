"""sinkhorn in Triton: one launch for all iterations of small problems; else two an iteration, for the potentials of
columns and of rows."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.ops.sinkhorn import check
from yolox_ops.triton.launch import INTERPRETED, blocks, launch
from yolox_ops.triton.log_sum import MOST_MASS, TINY, add_terms, over_epsilon, potential, unsettled

# A program sets the potentials of OWN rows or columns and looks at OTHER of the other side in one step.
OWN_ROWS, OTHER_COLUMNS = (64, 256) if INTERPRETED else (4, 256)
OWN_COLUMNS, OTHER_ROWS = (256, 64) if INTERPRETED else (64, 16)

# Costs that a program of whole images holds in registers.
SMALL = 65536 if INTERPRETED else 4096


@triton.jit
def scaled_cost(pairs, mask, per_epsilon):
    return over_epsilon(tl.load(pairs, mask, float("inf")), per_epsilon)


@triton.jit(do_not_specialize=["image", "row", "column", "B", "M", "N", "iterations"])
def solve(
    plan, log_supply, log_demand, cost, image, row, column, B, M, N, iterations, per_epsilon: tl.float64,
    tolerance: tl.float64,
    T: tl.constexpr, IMAGES: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Some images, whole."""
    b = tl.program_id(0).to(tl.int64) * IMAGES + tl.arange(0, IMAGES)[:, None, None]
    i = tl.arange(0, ROWS)[None, :, None].to(tl.int64)
    j = tl.arange(0, COLUMNS)[None, None, :].to(tl.int64)
    there = (b < B) & (i < M) & (j < N)
    scaled = scaled_cost(cost + b * image + i * row + j * column, there, per_epsilon)
    log_supply = tl.load(log_supply + b * M + i, (b < B) & (i < M), 0.0)
    log_demand = tl.load(log_demand + b * N + j, (b < B) & (j < N), 0.0)
    x, y = log_supply * 0.0, log_demand * 0.0
    none_of_rows = tl.full((IMAGES, ROWS), float("-inf"), tl.float64)
    none_of_columns = tl.full((IMAGES, COLUMNS), float("-inf"), tl.float64)
    missed = (b < B).to(tl.int32)
    t = tl.full((), 0, tl.int32)
    while (t < iterations) & (tl.max(missed) > 0):
        top, total = add_terms(none_of_columns, 0.0, x - scaled, 1, T)
        y = tl.where(missed > 0, potential(log_demand, top[:, None, :], total[:, None, :]), y)
        top, total = add_terms(none_of_rows, 0.0, y - scaled, 2, T)
        new = potential(log_supply, top[:, :, None], total[:, :, None])
        if (tolerance > 0.0) & (t > 0):
            missed &= tl.max(unsettled(x, new, top[:, :, None], tolerance).to(tl.int32), 1, keep_dims=True)
        x = new  # with columns left alone this is the same as before
        t += 1
    tl.store(plan + (b * M + i) * N + j, tl.exp((x + y - scaled).to(T)), there)


@triton.jit(do_not_specialize=["size", "owns", "others", "image", "own_step", "other_step", "t"])
def update(
    own, other, missed, log_masses, size, owns, others, cost, image, own_step, other_step, t,
    per_epsilon: tl.float64, tolerance: tl.float64,
    AXIS: tl.constexpr, T: tl.constexpr, OWN: tl.constexpr, OTHER: tl.constexpr,
):  # fmt: skip
    """New potentials `own` of some of the batch's columns, which add along axis 0, or rows, which add along axis 1.
    missed[b] is 1 + the last iteration in which a row of image b was not settled; other programs of iteration t may set
    it, which then says the same to this one."""
    at = tl.program_id(0).to(tl.int64) * OWN + tl.arange(0, OWN)
    b = at // owns
    there = (tl.load(missed + b, at < size, -1) >= t) | ((tolerance == 0.0) & (at < size))
    if tl.max(there.to(tl.int32), 0) > 0:
        pairs = tl.expand_dims(cost + b * image + (at - b * owns) * own_step, AXIS)
        reached = tl.expand_dims(other + b * others, AXIS)
        top = tl.full((OWN,), float("-inf"), tl.float64)
        total = tl.full((OWN,), 0.0, tl.float64)
        first = tl.full((), 0, tl.int64)
        while first < others:
            k = tl.expand_dims(first + tl.arange(0, OTHER), 1 - AXIS)
            mask = tl.expand_dims(there, AXIS) & (k < others)
            terms = tl.load(reached + k, mask, 0.0) - scaled_cost(pairs + k * other_step, mask, per_epsilon)
            top, total = add_terms(top, total, terms, AXIS, T)
            first += OTHER
        new = potential(tl.load(log_masses + at, there, 0.0), top, total)
        if (AXIS == 1) & (tolerance > 0.0):
            missing = unsettled(tl.load(own + at, there, 0.0), new, top, tolerance) | (t == 0)
            tl.atomic_max(missed + b, t + 1, there & missing)
        tl.store(own + at, new, there)


@triton.jit(do_not_specialize=["image", "row", "column", "M", "N"])
def fill_plan(
    plan, x, y, cost, image, row, column, M, N, per_epsilon: tl.float64,
    T: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A tile of one image."""
    program = tl.program_id(0).to(tl.int64)
    tiles = tl.cdiv(N, COLUMNS)
    tile = program % (tl.cdiv(M, ROWS) * tiles)
    b = program // (tl.cdiv(M, ROWS) * tiles)
    i = (tile // tiles * ROWS + tl.arange(0, ROWS))[:, None]
    j = (tile % tiles * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    there = (i < M) & (j < N)
    scaled = scaled_cost(cost + b * image + i * row + j * column, there, per_epsilon)
    log_plan = tl.load(x + b * M + i, i < M, 0.0) + tl.load(y + b * N + j, j < N, 0.0) - scaled
    tl.store(plan + (b * M + i) * N + j, tl.exp(log_plan.to(T)), there)


def log_masses(masses: Tensor) -> Tensor:
    """Of supplies or demands; a number that is none, which the CPU kernels refuse, counts 0."""
    masses = masses.double()
    return torch.where((masses >= 0) & (masses <= MOST_MASS), masses, 0.0).add(TINY).log()


def sinkhorn(cost: Tensor, supply: Tensor, demand: Tensor, epsilon: float, iterations: int, tolerance: float) -> Tensor:
    check(cost, supply, demand, epsilon, iterations, tolerance)
    B, M, N = cost.shape
    plan = cost.new_empty((B, M, N), dtype=wide_dtype(cost))
    if plan.numel() == 0:
        return plan
    image, row, column = cost.stride()
    log_supply, log_demand = log_masses(supply), log_masses(demand)
    T = tl.float64 if plan.dtype == torch.float64 else tl.float32
    shape = {"ROWS": triton.next_power_of_2(M), "COLUMNS": triton.next_power_of_2(N)}
    room = SMALL // (shape["ROWS"] * shape["COLUMNS"])
    if room > 0:
        images = triton.next_power_of_2(min(room, B)) if INTERPRETED else 1
        args = (plan, log_supply, log_demand, cost, image, row, column, B, M, N, iterations, 1 / epsilon, tolerance)
        launch(solve, blocks(B, images), *args, T=T, IMAGES=images, **shape, num_warps=8)
        return plan
    x, y = (cost.new_zeros((B, size), dtype=torch.float64) for size in (M, N))
    missed = cost.new_zeros(B, dtype=torch.int32)
    columns = (y, x, missed, log_demand, B * N, N, M, cost, image, column, row)
    rows = (x, y, missed, log_supply, B * M, M, N, cost, image, row, column)
    for t in range(iterations):
        numbers = (t, 1 / epsilon, tolerance)
        launch(update, blocks(B * N, OWN_COLUMNS), *columns, *numbers, AXIS=0, T=T, OWN=OWN_COLUMNS, OTHER=OTHER_ROWS)
        launch(update, blocks(B * M, OWN_ROWS), *rows, *numbers, AXIS=1, T=T, OWN=OWN_ROWS, OTHER=OTHER_COLUMNS)
    tiles = B * blocks(M, OWN_ROWS) * blocks(N, OTHER_COLUMNS)
    matrix = (cost, image, row, column, M, N)
    launch(fill_plan, tiles, plan, x, y, *matrix, 1 / epsilon, T=T, ROWS=OWN_ROWS, COLUMNS=OTHER_COLUMNS)
    return plan
