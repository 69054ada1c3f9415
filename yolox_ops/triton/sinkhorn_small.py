"""sinkhorn of small images, of which one program does all iterations in its registers."""

import triton
import triton.language as tl

from yolox_ops.triton.log_sum import add_terms, potential, scale_cost, unsettled


@triton.jit
def load_scaled(
    cost,  # of the pairs
    mask,
    per_epsilon,
):
    return scale_cost(tl.load(cost, mask, float("inf")), per_epsilon)


@triton.jit(do_not_specialize=["cost_image_stride", "cost_row_stride", "cost_column_stride", "M", "N", "iterations"])
def solve(
    plan,  # [B, M, N]
    log_supply,  # [B, M]
    log_demand,  # [B, N]
    cost,  # [B, M, N]
    cost_image_stride,
    cost_row_stride,
    cost_column_stride,
    M,
    N,
    iterations,
    per_epsilon: tl.float64,
    tolerance: tl.float64,
    T: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """A whole image."""
    b = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, ROWS)[:, None].to(tl.int64)
    j = tl.arange(0, COLUMNS)[None, :].to(tl.int64)
    there = (i < M) & (j < N)
    cost += b * cost_image_stride + i * cost_row_stride + j * cost_column_stride
    scaled = load_scaled(cost, there, per_epsilon)
    log_supply = tl.load(log_supply + b * M + i, i < M, 0.0)
    log_demand = tl.load(log_demand + b * N + j, j < N, 0.0)
    x, y = log_supply * 0.0, log_demand * 0.0
    none_of_rows = tl.full((ROWS,), float("-inf"), tl.float64)
    none_of_columns = tl.full((COLUMNS,), float("-inf"), tl.float64)
    missed = tl.full((), 1, tl.int32)
    t = tl.full((), 0, tl.int32)
    while (t < iterations) & (missed > 0):
        top, total = add_terms(none_of_columns, 0.0, x - scaled, 0, T)
        y = potential(log_demand, top[None, :], total[None, :])
        top, total = add_terms(none_of_rows, 0.0, y - scaled, 1, T)
        new = potential(log_supply, top[:, None], total[:, None])
        if (tolerance > 0.0) & (t > 0):
            missed = tl.max(unsettled(x, new, top[:, None], tolerance).to(tl.int32))
        x = new
        t += 1
    tl.store(plan + (b * M + i) * N + j, tl.exp((x + y - scaled).to(T)), there)
