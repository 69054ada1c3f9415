"""yolox_ops::sinkhorn in Triton. A small image is one program's work; else an iteration is one launch, as in
csrc/transport/sinkhorn.cu."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.ops.sinkhorn import check
from yolox_ops.triton.launch import bits_of, blocks, launch, narrow
from yolox_ops.triton.log_sum import MOST_MASS, TINY_MASS
from yolox_ops.triton.potential import find_scale
from yolox_ops.triton.sinkhorn_kernels import Work, begin_columns, begin_rows, set_rows, sweep, write_plan
from yolox_ops.triton.sinkhorn_small import solve

# A program holds the entries of so many rows and columns; if there are more rows, it goes through these twice.
ROWS, COLUMNS = 64, 64
# So many times COLUMNS make a tile at least; and an image has at most so many tiles, for each adds up what all held.
FEWEST_STEPS, MOST_TILES = 4, 64
# Columns of a row, or tiles, in one step.
SEEN, TILES = 1024, 16

# Costs of an image that one program holds in registers.
SMALL = 4096


def read_masses(
    masses: Tensor,  # [B, M]
) -> Tensor:
    """Supplies or demands as they count, float64; a number that is none, which the CPU kernels refuse, counts 0."""
    masses = masses.double().contiguous()  # else what follows would lie as they do
    return torch.where((masses >= 0) & (masses <= MOST_MASS), masses, 0.0).add(TINY_MASS.value)


def is_wide(
    cost: Tensor,  # [B, M, N]
) -> bool:
    """Whether columns can be read four at a time."""
    image_stride, row_stride, column_stride = cost.stride()
    whole = all(count % 4 == 0 for count in (image_stride, row_stride, cost.shape[2]))
    return column_stride == 1 and whole and cost.data_ptr() % 16 == 0


def sinkhorn(
    cost: Tensor,  # [B, M, N]
    supply: Tensor,  # [B, M]
    demand: Tensor,  # [B, N]
    epsilon: float,
    iterations: int,
    tolerance: float,
) -> Tensor:
    check(cost, supply, demand, epsilon, iterations, tolerance)
    B, M, N = cost.shape
    plan = cost.new_empty((B, M, N), dtype=wide_dtype(cost))
    if plan.numel() == 0:
        return plan
    supply, demand = read_masses(supply), read_masses(demand)
    T = tl.float64 if plan.dtype == torch.float64 else tl.float32
    shape = {"ROWS": triton.next_power_of_2(M), "COLUMNS": triton.next_power_of_2(N)}
    if shape["ROWS"] * shape["COLUMNS"] <= SMALL:
        args = (plan, supply.log(), demand.log(), cost, *cost.stride(), M, N, iterations, 1 / epsilon, tolerance)
        launch(solve, B, *args, T=T, **shape, num_warps=8)
        return plan
    steps = max(FEWEST_STEPS, blocks(blocks(N, COLUMNS), MOST_TILES))
    tiles = blocks(N, steps * COLUMNS)
    work = Work(
        supply=supply.to(plan.dtype),
        demand=demand.to(plan.dtype),
        x=plan.new_empty((2, 2, B, M)),
        y=plan.new_empty((2, B, N)),
        parts=plan.new_empty((2, B, tiles, M)),
        ended=cost.new_zeros((2, B), dtype=torch.int32),
    )
    matrix = (cost, *cost.stride(), B, M, N, *find_scale(epsilon, plan.dtype))
    settled = bits_of(narrow(tolerance, plan.dtype), plan.dtype)
    kind = {"T": T, "WIDE": is_wide(cost)}
    tile = {**kind, "ROWS": ROWS, "COLUMNS": COLUMNS, "num_warps": 8}
    few = M <= ROWS

    def advance(t: int) -> None:
        launch(set_rows, B, *matrix, work, tiles, t, settled, ROWS=ROWS, TILES=TILES, **kind)

    launch(begin_columns, B * blocks(N, COLUMNS), *matrix, work, **tile)
    launch(begin_rows, B * M, *matrix, work, COLUMNS=SEEN, **kind)
    for t in range(1, iterations):
        if t > 1 and not few:
            advance(t)
        launch(sweep, B * tiles, *matrix, work, tiles, t, settled, steps, FEW=few, TILES=TILES, **tile)
    if iterations > 1:
        advance(iterations)
    launch(write_plan, B * blocks(M, ROWS) * blocks(N, COLUMNS), *matrix, work, iterations, plan, **tile)
    return plan
