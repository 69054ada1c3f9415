"""Dynamic k matching of a matrix, stored (dynamic_k_match) or computed where it is looked at (simota).

Three functions say what a matrix is; `matrix` is a tuple that they understand:
  columns(matrix, first, BLOCK)       a block of anchors from place `first` on, and which of them exist
  overlaps(matrix, g, j, mask, RULE)  IoU of ground truth g with anchors j, 0 where masked out
  costs(matrix, g, j, mask, RULE)     likewise their costs in float64, +inf where they may not match
"""

import triton
import triton.language as tl

from yolox_ops.triton.launch import INTERPRETED

# Anchors that a ground truth looks at in one step, and anchors of a program that goes through all of them.
BLOCK = 4096 if INTERPRETED else 1024
TILE = 4096 if INTERPRETED else 32
# Ground truths that a program looks at side by side, for their loads not to wait for each other.
GTS = tl.constexpr(16)

# What stands in an anchor's place before a ground truth does.
NOBODY = tl.constexpr(-1)
SEVERAL = tl.constexpr(-2)
NO_CANDIDATE = tl.constexpr(-3)

NEVER = tl.constexpr(2**63 - 1)


@triton.jit
def count_gts(num_gts, b, G):
    """Rows of image b before its padding; a negative number is as good as 0. The CPU kernels refuse either excess."""
    return tl.minimum(tl.load(num_gts + b).to(tl.int64), G)


@triton.jit
def preference(cost):
    """Integers in the order that costs are preferred in: numbers, then NaN, then +inf, which never matches."""
    bits = tl.where(cost == 0.0, 0.0, cost).to(tl.int64, bitcast=True)  # one 0 for both
    key = tl.where(bits < 0, bits ^ 0x7FFFFFFFFFFFFFFF, bits)
    return tl.where(cost == cost, tl.where(cost == float("inf"), NEVER, key), 0x7FF0000000000000)


@triton.jit
def largest_below(overlap, last):
    """The largest overlap above 0 and below the last, and how often it occurs; 0 and never if there is none."""
    below = tl.where((overlap > 0.0) & (overlap < last), overlap, 0.0)  # a NaN is not
    value = tl.max(below, 0)
    return value, tl.sum(((below == value) & (below > 0.0)).to(tl.int32), 0)


@triton.jit
def first_after(key, j, last_key, last_j):
    """The preferred of the pairs that come after the last one."""
    after = (key > last_key) | ((key == last_key) & (j > last_j))
    best = tl.min(tl.where(after, key, NEVER), 0)
    return best, tl.min(tl.where(after & (key == best), j, NEVER), 0)


@triton.jit
def sum_of_top(
    matrix, g, size, topk, columns: tl.constexpr, overlaps: tl.constexpr, RULE: tl.constexpr, BLOCK: tl.constexpr
):
    """Sum of the topk largest overlaps of ground truth g, the largest first."""
    j, there = columns(matrix, 0, BLOCK)
    overlap = overlaps(matrix, g, j, there, RULE)
    total, last = tl.full((), 0.0, overlap.dtype), tl.full((), float("inf"), overlap.dtype)
    while (topk > 0) & (last > 0.0):
        value, times = largest_below(overlap, last)
        first = tl.full((), BLOCK, tl.int32)
        while first < size:  # the first block stays in registers; what follows it is rare and is looked at again
            j, there = columns(matrix, first, BLOCK)
            other, others = largest_below(overlaps(matrix, g, j, there, RULE), last)
            times = tl.where(other > value, others, tl.where(other == value, times + others, times))
            value = tl.where(other > value, other, value)
            first += BLOCK
        times = tl.minimum(times, topk)
        topk -= times
        last = value
        while times > 0:
            total += value
            times -= 1
    return total


@triton.jit
def dynamic_k(total, most, K_ROUNDING: tl.constexpr):
    """How many of `most` anchors a ground truth takes, whose largest overlaps add up to `total`."""
    bounded = tl.where(total < most.to(total.dtype), total, most.to(total.dtype))
    k = bounded.to(tl.int64)
    if K_ROUNDING == "nearest":  # half to even; k may be 0
        rest = bounded - k.to(total.dtype)
        return k + ((rest > 0.5) | ((rest == 0.5) & (k % 2 == 1))).to(tl.int64)
    else:
        return tl.maximum(k, 1)


@triton.jit
def take(
    owner, matrix, g, size, topk, columns: tl.constexpr, overlaps: tl.constexpr, costs: tl.constexpr,
    K_ROUNDING: tl.constexpr, RULE: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Ground truth g takes its k preferred anchors. `owner` points at the image's anchors."""
    total = sum_of_top(matrix, g, size, topk, columns, overlaps, RULE, BLOCK)
    k = dynamic_k(total, size, K_ROUNDING)
    j, there = columns(matrix, 0, BLOCK)
    key = preference(costs(matrix, g, j, there, RULE))
    last_key, last_j = tl.full((), -(2**63), tl.int64), tl.full((), -1, tl.int64)
    while k > 0:
        best_key, best_j = first_after(key, j, last_key, last_j)
        first = tl.full((), BLOCK, tl.int32)
        while first < size:
            other_j, there = columns(matrix, first, BLOCK)
            other_key = preference(costs(matrix, g, other_j, there, RULE))
            other_key, other_j = first_after(other_key, other_j, last_key, last_j)
            better = (other_key < best_key) | ((other_key == best_key) & (other_j < best_j))
            best_key, best_j = tl.where(better, other_key, best_key), tl.where(better, other_j, best_j)
            first += BLOCK
        k = tl.where(best_key == NEVER, 0, k - 1)
        if best_key != NEVER:
            before = tl.atomic_cas(owner + best_j, tl.full((), NOBODY, tl.int64), g)
            if before != NOBODY:
                tl.atomic_xchg(owner + best_j, SEVERAL)
        last_key, last_j = best_key, best_j


@triton.jit
def settle(matrix, gts, j, owner, costs: tl.constexpr, RULE: tl.constexpr):
    """`owner` of anchors j, with those that several took given to the ground truth of lowest cost in the image."""
    several = owner == SEVERAL
    if tl.max(several.to(tl.int32), 0) > 0:
        best, best_g = tl.full(owner.shape, NEVER, tl.int64), tl.full(owner.shape, NEVER, tl.int64)
        first = tl.full((), 0, tl.int64)
        while first < gts:
            g = first + tl.arange(0, GTS)[None, :]
            key = preference(costs(matrix, g, j[:, None] + 0 * g, several[:, None] & (g < gts), RULE))
            least = tl.min(key, 1)
            least_g = tl.min(tl.where(key == least[:, None], g, NEVER), 1)
            best_g = tl.where(least < best, least_g, best_g)
            best = tl.minimum(best, least)
            first += GTS
        owner = tl.where(several, best_g, owner)
    return owner


@triton.jit
def store_match(matched_gt, matched_iou, num_fg, b, at, there, owner, overlap):
    taken = owner >= 0
    tl.store(matched_gt + at, tl.where(taken, owner, NOBODY), there)
    overlap = overlap.to(tl.float32)
    tl.store(matched_iou + at, tl.where(taken & (overlap == overlap), overlap, 0.0), there)
    tl.atomic_add(num_fg + b, tl.sum((taken & there).to(tl.int64), 0))
