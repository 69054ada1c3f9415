"""What sinkhorn launches for large images, as csrc/transport/sinkhorn.cu does: the first potentials of columns and of
rows; an iteration of a tile of columns, which holds the entries of all rows if they are few, else computes them twice;
the potentials of rows, of what tiles held; and the plan."""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from yolox_ops.triton.numeric import from_bits
from yolox_ops.triton.potential import Scale, entry, exponent, has_mass, lift, move, ratio_or_zero, unsettled

MATRIX = ["image_stride", "row_stride", "column_stride", "B", "M", "N", "high", "low", "most"]
NUMBERS = [*MATRIX, "tiles", "t", "tolerance", "steps"]


class Work(NamedTuple):
    """Tensors. Of two, iteration t has that of t % 2."""

    supply: Any  # [B, M], as they count
    demand: Any  # [B, N]
    x: Any  # [2, 2, B, M], high and low, of rows, as the iteration begins
    y: Any  # [2, B, N], high and low, of columns
    parts: Any  # [2, B, tiles, M], what a tile holds of a row as the iteration ends
    ended: Any  # [2, B], the first iteration in which an image took no part, or 0


class Matrix(NamedTuple):
    """The costs of an image, and its sizes."""

    cost: Any  # a pointer
    row_stride: Any
    column_stride: Any
    b: Any
    B: Any
    M: Any
    N: Any
    scale: Any  # Scale


@triton.jit
def read_matrix(
    cost, image_stride, row_stride, column_stride, B, M, N, high, low, most, b, T: tl.constexpr, WIDE: tl.constexpr
):  # fmt: skip
    """Of image b. WIDE costs lie densely, and can be read four at a time."""
    if WIDE:
        cost = tl.multiple_of(cost, 16)
        image_stride, row_stride = tl.multiple_of(image_stride, 4), tl.multiple_of(row_stride, 4)
        column_stride, N = 1, tl.multiple_of(N, 4)
    scale = Scale(from_bits(high, T), from_bits(low, T), from_bits(most, T))
    return Matrix(cost + b * image_stride, row_stride, column_stride, b, B, M, N, scale)


@triton.jit
def load_costs(matrix, i, j, T: tl.constexpr):
    """[rows, columns]; infinite where there is no pair."""
    there = (i < matrix.M)[:, None] & (j < matrix.N)[None, :]
    cost = matrix.cost + (i * matrix.row_stride)[:, None] + (j * matrix.column_stride)[None, :]
    return tl.load(cost, there, float("inf")).to(T)


@triton.jit
def load_x(work, matrix, t, i):
    at = work.x + (t % 2 * 2 * matrix.B + matrix.b) * matrix.M + i
    return tl.load(at, i < matrix.M, 0.0), tl.load(at + matrix.B * matrix.M, i < matrix.M, 0.0)


@triton.jit
def store_x(work, matrix, t, i, high, low):
    at = work.x + (t % 2 * 2 * matrix.B + matrix.b) * matrix.M + i
    tl.store(at, high, i < matrix.M)
    tl.store(at + matrix.B * matrix.M, low, i < matrix.M)


@triton.jit
def load_y(work, matrix, j):
    at = work.y + matrix.b * matrix.N + j
    return tl.load(at, j < matrix.N, 0.0), tl.load(at + matrix.B * matrix.N, j < matrix.N, 0.0)


@triton.jit
def store_y(work, matrix, j, high, low):
    at = work.y + matrix.b * matrix.N + j
    tl.store(at, high, j < matrix.N)
    tl.store(at + matrix.B * matrix.N, low, j < matrix.N)


@triton.jit
def point_at_parts(work, matrix, t, tile, i, tiles):
    return work.parts + ((t % 2 * matrix.B + matrix.b) * tiles + tile) * matrix.M + i


@triton.jit
def make_entries(x_high, x_low, y_high, y_low, costs, scale):
    """[rows, columns]"""
    return entry(x_high[:, None], x_low[:, None], y_high[None, :], y_low[None, :], costs, scale)


@triton.jit
def carry_demand(work, matrix, j, high, low, held):
    """Stores the potentials of columns that carry their demand; returns the factors they moved by."""
    demand = tl.load(work.demand + matrix.b * matrix.N + j, j < matrix.N, 0.0)
    factor = ratio_or_zero(demand, held)
    high, low = move(high, low, factor)
    tl.debug_barrier()  # until all threads that hold a column have read its old potential
    store_y(work, matrix, j, high, low)
    return factor


@triton.jit(do_not_specialize=MATRIX)
def begin_columns(
    cost, image_stride, row_stride, column_stride, B, M, N, high: tl.int64, low: tl.int64, most: tl.int64, work,
    T: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The first potentials of columns: those of their least costs, then those that carry their demand."""
    programs = tl.cdiv(N, COLUMNS)
    b = tl.program_id(0).to(tl.int64) // programs
    j = tl.program_id(0).to(tl.int64) % programs * COLUMNS + tl.arange(0, COLUMNS)
    matrix = read_matrix(cost, image_stride, row_stride, column_stride, B, M, N, high, low, most, b, T, WIDE)
    scale = matrix.scale
    least = tl.full((COLUMNS,), float("inf"), T)
    first = tl.full((), 0, tl.int64)
    while first < M:
        costs = load_costs(matrix, first + tl.arange(0, ROWS), j, T)
        least = tl.minimum(least, tl.min(tl.where(has_mass(costs, scale), costs, float("inf")), 0))
        first += ROWS
    least = tl.where(least < float("inf"), least, 0.0)
    y_high = -least * scale.high
    y_low = tl.fma(-least, scale.low, tl.fma(-least, scale.high, -y_high))
    held = tl.full((COLUMNS,), 0.0, T)
    nothing = tl.full((ROWS,), 0.0, T)
    first = tl.full((), 0, tl.int64)
    while first < M:
        costs = load_costs(matrix, first + tl.arange(0, ROWS), j, T)
        held += tl.sum(make_entries(nothing, nothing, y_high, y_low, costs, scale), 0)
        first += ROWS
    carry_demand(work, matrix, j, y_high, y_low, held)


@triton.jit(do_not_specialize=MATRIX)
def begin_rows(
    cost, image_stride, row_stride, column_stride, B, M, N, high: tl.int64, low: tl.int64, most: tl.int64, work,
    T: tl.constexpr, WIDE: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The first potentials of a row: its largest entry becomes about 1, then it holds its supply."""
    b, i = tl.program_id(0).to(tl.int64) // M, tl.program_id(0).to(tl.int64) % M + tl.arange(0, 1)
    matrix = read_matrix(cost, image_stride, row_stride, column_stride, B, M, N, high, low, most, b, T, WIDE)
    x_high, x_low = tl.full((1,), 0.0, T), tl.full((1,), 0.0, T)
    rounds = tl.full((), 1, tl.int32)
    while rounds > 0:  # once more where it was so large that it rounded much
        largest = tl.full((COLUMNS,), float("-inf"), T)
        first = tl.full((), 0, tl.int64)
        while first < N:
            j = first + tl.arange(0, COLUMNS)
            costs = tl.reshape(load_costs(matrix, i, j, T), (COLUMNS,))
            y_high, y_low = load_y(work, matrix, j)
            power = exponent(x_high, x_low, y_high, y_low, costs, matrix.scale)
            largest = tl.maximum(largest, tl.where(has_mass(costs, matrix.scale), power, float("-inf")))
            first += COLUMNS
        top = tl.max(largest, 0)
        rounds = ((tl.abs(top) > 1048576.0) & (top > float("-inf"))).to(tl.int32)
        x_high, x_low = lift(x_high, x_low, tl.where(top > float("-inf"), -top, 0.0))
    held = tl.full((COLUMNS,), 0.0, T)
    first = tl.full((), 0, tl.int64)
    while first < N:
        j = first + tl.arange(0, COLUMNS)
        costs = tl.reshape(load_costs(matrix, i, j, T), (COLUMNS,))
        y_high, y_low = load_y(work, matrix, j)
        held += entry(x_high, x_low, y_high, y_low, costs, matrix.scale)
        first += COLUMNS
    supply = tl.load(work.supply + b * M + i)
    x_high, x_low = move(x_high, x_low, ratio_or_zero(supply, tl.sum(held, 0)))
    store_x(work, matrix, 1, i, x_high, x_low)


@triton.jit
def advance_rows(work, matrix, t, i, tiles, tolerance, TILES: tl.constexpr):
    """The potentials with which rows begin iteration t, for they hold their supply with them, and whether one of them
    held something else before."""
    there = i < matrix.M
    supply = tl.load(work.supply + matrix.b * matrix.M + i, there, 0.0)
    held = supply * 0.0
    first = tl.full((), 0, tl.int64)
    while first < tiles:
        tile = (first + tl.arange(0, TILES))[:, None]
        parts = point_at_parts(work, matrix, t - 1, tile, i[None, :], tiles)
        held += tl.sum(tl.load(parts, there[None, :] & (tile < tiles), 0.0), 0)
        first += TILES
    high, low = load_x(work, matrix, t - 1, i)
    high, low = move(high, low, ratio_or_zero(supply, held))
    return high, low, tl.max((there & unsettled(held, supply, tolerance)).to(tl.int32), 0)


@triton.jit
def point_at_ended(work, matrix, t):
    return work.ended + t % 2 * matrix.B + matrix.b


@triton.jit
def find_end(t, missed, tolerance):
    """t if the image takes no part in that iteration, for no row missed its supply; else 0."""
    return tl.where((tolerance > 0.0) & (missed == 0), t, 0).to(tl.int32)


@triton.jit(do_not_specialize=NUMBERS)
def set_rows(
    cost, image_stride, row_stride, column_stride, B, M, N, high: tl.int64, low: tl.int64, most: tl.int64, work,
    tiles, t, tolerance: tl.int64,
    T: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """The potentials with which the rows of an image begin iteration t."""
    b = tl.program_id(0).to(tl.int64)
    matrix = read_matrix(cost, image_stride, row_stride, column_stride, B, M, N, high, low, most, b, T, WIDE)
    tolerance = from_bits(tolerance, T)
    ended = tl.load(point_at_ended(work, matrix, t - 1))
    if ended == 0:
        missed = tl.full((), 0, tl.int32)
        first = tl.full((), 0, tl.int64)
        while first < M:
            i = first + tl.arange(0, ROWS)
            x_high, x_low, missed_here = advance_rows(work, matrix, t, i, tiles, tolerance, TILES)
            store_x(work, matrix, t, i, x_high, x_low)
            missed |= missed_here
            first += ROWS
        ended = find_end(t, missed, tolerance)
    tl.store(point_at_ended(work, matrix, t), ended)


@triton.jit
def sweep_once(work, matrix, x_high, x_low, i, first, end, T: tl.constexpr, COLUMNS: tl.constexpr):
    """What a tile of columns holds of all rows, once each column carries its demand."""
    held = tl.zeros((i.shape[0], COLUMNS), T)
    while first < end:
        j = first + tl.arange(0, COLUMNS)
        y_high, y_low = load_y(work, matrix, j)
        entries = make_entries(x_high, x_low, y_high, y_low, load_costs(matrix, i, j, T), matrix.scale)
        factor = carry_demand(work, matrix, j, y_high, y_low, tl.sum(entries, 0))
        held = tl.fma(entries, tl.broadcast_to(factor[None, :], entries.shape), held)
        first += COLUMNS
    return tl.sum(held, 1)


@triton.jit
def carry_demands(work, matrix, t, first, end, T: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A tile of columns, of whatever number of rows."""
    while first < end:
        j = first + tl.arange(0, COLUMNS)
        y_high, y_low = load_y(work, matrix, j)
        held = tl.full((COLUMNS,), 0.0, T)
        row = tl.full((), 0, tl.int64)
        while row < matrix.M:
            i = row + tl.arange(0, ROWS)
            x_high, x_low = load_x(work, matrix, t, i)
            held += tl.sum(make_entries(x_high, x_low, y_high, y_low, load_costs(matrix, i, j, T), matrix.scale), 0)
            row += ROWS
        carry_demand(work, matrix, j, y_high, y_low, held)
        first += COLUMNS


@triton.jit
def add_columns(work, matrix, t, i, first, end, T: tl.constexpr, COLUMNS: tl.constexpr):
    """What a tile holds of some rows, where its columns carry their demand already."""
    x_high, x_low = load_x(work, matrix, t, i)
    held = tl.zeros((i.shape[0], COLUMNS), T)
    while first < end:
        j = first + tl.arange(0, COLUMNS)
        y_high, y_low = load_y(work, matrix, j)
        held += make_entries(x_high, x_low, y_high, y_low, load_costs(matrix, i, j, T), matrix.scale)
        first += COLUMNS
    return tl.sum(held, 1)


@triton.jit(do_not_specialize=NUMBERS)
def sweep(
    cost, image_stride, row_stride, column_stride, B, M, N, high: tl.int64, low: tl.int64, most: tl.int64, work,
    tiles, t, tolerance: tl.int64, steps,
    T: tl.constexpr, WIDE: tl.constexpr, FEW: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """Iteration t of a tile of columns. FEW rows are known from what the tiles held of them in the iteration before,
    which every program of an image adds up for itself; others from set_rows."""
    b, tile = tl.program_id(0).to(tl.int64) // tiles, tl.program_id(0).to(tl.int64) % tiles
    matrix = read_matrix(cost, image_stride, row_stride, column_stride, B, M, N, high, low, most, b, T, WIDE)
    tolerance = from_bits(tolerance, T)
    width = steps * COLUMNS
    first, end = tile * width, tl.minimum(tile * width + width, N)
    i = tl.arange(0, ROWS).to(tl.int64)
    if FEW:
        ended = tl.load(point_at_ended(work, matrix, t - 1))
        if ended == 0:
            if t > 1:
                x_high, x_low, missed = advance_rows(work, matrix, t, i, tiles, tolerance, TILES)
                ended = find_end(t, missed, tolerance)
                if tile == 0:
                    store_x(work, matrix, t, i, x_high, x_low)
            else:
                x_high, x_low = load_x(work, matrix, t, i)
            if ended == 0:
                held = sweep_once(work, matrix, x_high, x_low, i, first, end, T, COLUMNS)
                tl.store(point_at_parts(work, matrix, t, tile, i, tiles), held, i < M)
        if (tile == 0) & (t > 1):
            tl.store(point_at_ended(work, matrix, t), ended)
    else:
        if tl.load(point_at_ended(work, matrix, t)) == 0:
            carry_demands(work, matrix, t, first, end, T, ROWS, COLUMNS)
            tl.debug_barrier()  # until all threads see the potentials of columns
            row = tl.full((), 0, tl.int64)
            while row < M:
                held = add_columns(work, matrix, t, row + i, first, end, T, COLUMNS)
                tl.store(point_at_parts(work, matrix, t, tile, row + i, tiles), held, row + i < M)
                row += ROWS


@triton.jit(do_not_specialize=NUMBERS)
def write_plan(
    cost, image_stride, row_stride, column_stride, B, M, N, high: tl.int64, low: tl.int64, most: tl.int64, work,
    t, plan, T: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A part of one image's plan [M, N], after t iterations."""
    program = tl.program_id(0).to(tl.int64)
    across, down = tl.cdiv(N, COLUMNS), tl.cdiv(M, ROWS)
    b = program // (across * down)
    matrix = read_matrix(cost, image_stride, row_stride, column_stride, B, M, N, high, low, most, b, T, WIDE)
    i = program % (across * down) // across * ROWS + tl.arange(0, ROWS)
    j = program % across * COLUMNS + tl.arange(0, COLUMNS)
    ended = tl.load(point_at_ended(work, matrix, t))
    x_high, x_low = load_x(work, matrix, tl.where(ended > 0, ended, t), i)
    y_high, y_low = load_y(work, matrix, j)
    entries = make_entries(x_high, x_low, y_high, y_low, load_costs(matrix, i, j, T), matrix.scale)
    tl.store(plan + ((b * M + i) * N)[:, None] + j[None, :], entries, (i < M)[:, None] & (j < N)[None, :])
