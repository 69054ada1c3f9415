"""The first of many keys, in one pass over them: a program holds as many as it seeks and replaces the last of these
where a block has one that comes before. Integers are ordered by their value, equal ones by the index beside them."""

import triton
import triton.language as tl

# Keys that a program holds. More are found in passes that each begin after the last one's.
HELD = tl.constexpr(32)

LEAST_INT = tl.constexpr(-(2**31))
MOST_INT = tl.constexpr(2**31 - 1)


@triton.jit
def never(dtype: tl.constexpr):
    """The key of what is not to be found."""
    return tl.full((), 2**63 - 1 if dtype == tl.int64 else 2**31 - 1, dtype)


@triton.jit
def before_all(dtype: tl.constexpr):
    return tl.full((), -(2**63) if dtype == tl.int64 else -(2**31), dtype)


@triton.jit
def least(key):
    """tl.min of keys. Of int64 it is that of two halves, for a warp has an instruction that finds the least int32."""
    if key.dtype == tl.int64:
        high, low = (key >> 32).to(tl.int32), key.to(tl.int32) ^ LEAST_INT
        best = tl.min(high, 0)
        best_low = tl.min(tl.where(high == best, low, MOST_INT), 0) ^ LEAST_INT
        return (best.to(tl.int64) << 32) | (best_low.to(tl.int64) & 0xFFFFFFFF)
    else:
        return tl.min(key, 0)


@triton.jit
def first_of(key, j):
    best = least(key)
    return best, tl.min(tl.where(key == best, j, MOST_INT), 0)


@triton.jit
def last_of(key, j):
    last = ~least(~key)
    return last, tl.max(tl.where(key == last, j, -1), 0)


@triton.jit
def hold_first(held, held_j, filled, last, last_j, most, key, j):
    """Holds those of a block's keys that are among the `most` first so far. `last` is the last held, or "never" while
    there is room."""
    slots = tl.arange(0, HELD)
    best, best_j = first_of(key, j)
    while (best < last) | ((best == last) & (best_j < last_j)):
        slot = filled
        if filled == most:
            slot = tl.min(tl.where((held == last) & (held_j == last_j), slots, HELD), 0)
        else:
            filled += 1
        held, held_j = tl.where(slots == slot, best, held), tl.where(slots == slot, best_j, held_j)
        if filled == most:
            last, last_j = last_of(held, held_j)
        key = tl.where(j == best_j, never(key.dtype), key)
        best, best_j = first_of(key, j)
    return held, held_j, filled, last, last_j


@triton.jit
def select_first(
    image, g, size, most, after, after_j,
    read_columns: tl.constexpr, read: tl.constexpr, rank: tl.constexpr, RULE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The `most` first, at most HELD, of the keys that come after a key: in the first `filled` of HELD places, in no
    order; and the last of them, if there are as many."""
    dtype: tl.constexpr = after.dtype
    held = tl.where(tl.arange(0, HELD) < most, never(dtype), before_all(dtype))
    held_j = tl.full((HELD,), -1, tl.int32)
    filled = tl.full((), 0, tl.int32)
    last, last_j = never(dtype), tl.full((), -1, tl.int32)
    first = tl.full((), 0, tl.int32)
    while first < size:
        columns, there = read_columns(image, first, BLOCK)
        key, j = rank(read(image, g, columns, there, RULE), first)
        key = tl.where((key > after) | ((key == after) & (j > after_j)), key, never(dtype))
        held, held_j, filled, last, last_j = hold_first(held, held_j, filled, last, last_j, most, key, j)
        first += BLOCK
    return held, held_j, filled, last, last_j
