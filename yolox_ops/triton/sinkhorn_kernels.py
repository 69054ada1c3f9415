"""What sinkhorn launches: all iterations of whole images, or one iteration's potentials of one side, and the plan."""

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


@triton.jit(
    do_not_specialize=["cost_image_stride", "cost_row_stride", "cost_column_stride", "B", "M", "N", "iterations"]
)
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


@triton.jit
def add_others(
    others,  # [SET], pointers to the other side's potentials [N]
    cost,  # [SET], pointers to the costs with them
    other_stride,
    N,
    there,
    per_epsilon,
    AXIS: tl.constexpr,
    T: tl.constexpr,
    SET: tl.constexpr,
    SEEN: tl.constexpr,
):
    """add_terms of all N of the other side."""
    others, cost = tl.expand_dims(others, AXIS), tl.expand_dims(cost, AXIS)
    top = tl.full((SET,), float("-inf"), tl.float64)
    total = tl.full((SET,), 0.0, tl.float64)
    first = tl.full((), 0, tl.int64)
    while first < N:
        other = tl.expand_dims(first + tl.arange(0, SEEN), 1 - AXIS)
        mask = tl.expand_dims(there, AXIS) & (other < N)
        terms = tl.load(others + other, mask, 0.0) - load_scaled(cost + other * other_stride, mask, per_epsilon)
        top, total = add_terms(top, total, terms, AXIS, T)
        first += SEEN
    return top, total


@triton.jit(do_not_specialize=["size", "M", "N", "cost_image_stride", "cost_side_stride", "cost_other_stride", "t"])
def update_potentials(
    potentials,  # [B, M] of the side that is set, whether it is rows or columns of cost
    others,  # [B, N] of the other side
    missed,  # [2, B]
    log_masses,  # [B, M]
    size,
    M,
    N,
    cost,  # [B, M, N] by the strides below
    cost_image_stride,
    cost_side_stride,
    cost_other_stride,
    t,
    per_epsilon: tl.float64,
    tolerance: tl.float64,
    AXIS: tl.constexpr,
    T: tl.constexpr,
    SET: tl.constexpr,
    SEEN: tl.constexpr,
):
    """New potentials of SET of the batch's `size` columns, which add along axis 0, or rows, which add along axis 1.
    missed[t % 2, b] is t if a row of image b was not settled in iteration t - 1, and for t = 0."""
    side = tl.program_id(0).to(tl.int64) * SET + tl.arange(0, SET)
    b = side // M
    B = size // M
    there = (tl.load(missed + t % 2 * B + b, side < size, -1) == t) | ((tolerance == 0.0) & (side < size))
    if tl.max(there.to(tl.int32), 0) > 0:
        costs = cost + b * cost_image_stride + (side - b * M) * cost_side_stride
        top, total = add_others(others + b * N, costs, cost_other_stride, N, there, per_epsilon, AXIS, T, SET, SEEN)
        new = potential(tl.load(log_masses + side, there, 0.0), top, total)
        if (AXIS == 1) & (tolerance > 0.0):
            missing = unsettled(tl.load(potentials + side, there, 0.0), new, top, tolerance) | (t == 0)
            tl.atomic_max(missed + (t + 1) % 2 * B + b, t + 1, there & missing)
            tl.debug_barrier()  # until all threads that hold a side have read its old potential
        tl.store(potentials + side, new, there)


@triton.jit(do_not_specialize=["cost_image_stride", "cost_row_stride", "cost_column_stride", "M", "N"])
def write_plan(
    plan,  # [B, M, N]
    x,  # [B, M]
    y,  # [B, N]
    cost,  # [B, M, N]
    cost_image_stride,
    cost_row_stride,
    cost_column_stride,
    M,
    N,
    per_epsilon: tl.float64,
    T: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """A tile of one image."""
    program = tl.program_id(0).to(tl.int64)
    tiles = tl.cdiv(N, COLUMNS)
    tile = program % (tl.cdiv(M, ROWS) * tiles)
    b = program // (tl.cdiv(M, ROWS) * tiles)
    i = (tile // tiles * ROWS + tl.arange(0, ROWS))[:, None]
    j = (tile % tiles * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    there = (i < M) & (j < N)
    cost += b * cost_image_stride
    scaled = load_scaled(cost + i * cost_row_stride + j * cost_column_stride, there, per_epsilon)
    log_plan = tl.load(x + b * M + i, i < M, 0.0) + tl.load(y + b * N + j, j < N, 0.0) - scaled
    tl.store(plan + (b * M + i) * N + j, tl.exp(log_plan.to(T)), there)
