"""sinkhorn in Triton: one launch for all iterations of small problems; else two an iteration, for the potentials of
columns and of rows."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.ops.sinkhorn import check
from yolox_ops.triton.launch import blocks, launch
from yolox_ops.triton.log_sum import MOST_MASS, TINY_MASS
from yolox_ops.triton.sinkhorn_kernels import solve, update_potentials, write_plan

# A program sets the potentials of so many rows or columns, and sees so many of the other side in one step.
ROWS_SET, COLUMNS_SEEN = 4, 256
COLUMNS_SET, ROWS_SEEN = 64, 16

# Costs of an image that one program holds in registers.
SMALL = 4096


def log_masses(
    masses: Tensor,  # [B, M]
) -> Tensor:
    """Of supplies or demands; a number that is none, which the CPU kernels refuse, counts 0."""
    masses = masses.double()
    return torch.where((masses >= 0) & (masses <= MOST_MASS), masses, 0.0).add(TINY_MASS.value).log()


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
    log_supply, log_demand = log_masses(supply), log_masses(demand)
    T = tl.float64 if plan.dtype == torch.float64 else tl.float32
    shape = {"ROWS": triton.next_power_of_2(M), "COLUMNS": triton.next_power_of_2(N)}
    if shape["ROWS"] * shape["COLUMNS"] <= SMALL:
        args = (plan, log_supply, log_demand, cost, *cost.stride(), M, N, iterations, 1 / epsilon, tolerance)
        launch(solve, B, *args, T=T, **shape, num_warps=8)
        return plan
    x, y = (cost.new_zeros((B, size), dtype=torch.float64) for size in (M, N))
    missed = cost.new_zeros((2, B), dtype=torch.int32)
    image_stride, row_stride, column_stride = cost.stride()
    columns = (y, x, missed, log_demand, B * N, N, M, cost, image_stride, column_stride, row_stride)
    rows = (x, y, missed, log_supply, B * M, M, N, cost, image_stride, row_stride, column_stride)
    for_columns = {"AXIS": 0, "T": T, "SET": COLUMNS_SET, "SEEN": ROWS_SEEN}
    for_rows = {"AXIS": 1, "T": T, "SET": ROWS_SET, "SEEN": COLUMNS_SEEN}
    for t in range(iterations):
        numbers = (t, 1 / epsilon, tolerance)
        launch(update_potentials, blocks(B * N, COLUMNS_SET), *columns, *numbers, **for_columns)
        launch(update_potentials, blocks(B * M, ROWS_SET), *rows, *numbers, **for_rows)
    tiles = B * blocks(M, ROWS_SET) * blocks(N, COLUMNS_SEEN)
    matrix = (cost, *cost.stride(), M, N)
    launch(write_plan, tiles, plan, x, y, *matrix, 1 / epsilon, T=T, ROWS=ROWS_SET, COLUMNS=COLUMNS_SEEN)
    return plan
