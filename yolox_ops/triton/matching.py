"""Dynamic k matching of one image's matrices, stored (dynamic_k_match) or computed where they are looked at (simota). A
program has a ground truth, goes over its row once for the overlaps and once for the costs, and keeps the first few keys
of each (selection.py).

Three functions say what the matrices are; `image` is a NamedTuple that they understand:
  read_columns(image, first, BLOCK)             a block of columns from the `first` on, and which of them exist
  read_overlaps(image, g, columns, mask, RULE)  IoU of ground truth g with these, 0 where masked out
  read_costs(image, g, columns, mask, RULE)     likewise their costs in float64, +inf where they may not match, and
                                                which anchors they are
"""

import triton
import triton.language as tl

from yolox_ops.triton.selection import HELD, before_all, first_of, least, never, select_first

# ota's anchors that a ground truth looks at in one step, and anchors of a program that goes through all of them.
BLOCK = 1024
TILE = 32
# Ground truths that a warp looks at side by side.
GTS = tl.constexpr(32)

# What an anchor has instead of a ground truth.
NOBODY = tl.constexpr(-1)
SEVERAL = tl.constexpr(-2)

# What a ground truth adds to the claim of an anchor that it takes, beside its number.
ONE_CLAIM = tl.constexpr(2**32)


@triton.jit
def locate_tile(N, TILE: tl.constexpr):
    """Which row of N anchors a program has a tile of, and the tile's anchors. An image is such a row, or a ground
    truth's row of a matrix."""
    program = tl.program_id(0).to(tl.int64)
    tiles = tl.cdiv(N, TILE)
    return program // tiles, program % tiles * TILE + tl.arange(0, TILE)


@triton.jit
def count_gts(
    num_gts,  # [B]
    b,
    G,
):
    """Rows of image b before its padding; a negative number is as good as 0. The CPU kernels refuse either excess."""
    return tl.minimum(tl.load(num_gts + b).to(tl.int64), G)


@triton.jit
def preference(cost):
    """Integers in the order that costs are preferred in: numbers, then NaN, then +inf, which never matches."""
    bits = (cost + 0.0).to(tl.int64, bitcast=True)  # one 0 for both
    key = tl.where(bits < 0, bits ^ 0x7FFFFFFFFFFFFFFF, bits)
    return tl.where(cost == cost, tl.where(cost == float("inf"), never(tl.int64), key), 0x7FF0000000000000)


@triton.jit
def rank_costs(found, first):
    cost, j = found
    return preference(cost), j


@triton.jit
def rank_overlaps(overlap, first):
    """The largest first. One that is not above 0, or NaN, is none."""
    dtype: tl.constexpr = tl.int64 if overlap.dtype == tl.float64 else tl.int32
    key = tl.where(overlap > 0.0, -overlap.to(dtype, bitcast=True), never(dtype))
    return key, first + tl.arange(0, overlap.shape[0])


@triton.jit
def sum_largest(
    image, g, size, topk,
    read_columns: tl.constexpr, read_overlaps: tl.constexpr, RULE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sum of the topk largest overlaps of ground truth g, the largest first."""
    dtype: tl.constexpr = tl.int64 if RULE.dtype == tl.float64 else tl.int32
    total = tl.full((), 0.0, RULE.dtype)
    last, last_j = before_all(dtype), tl.full((), -1, tl.int32)
    left = topk.to(tl.int64)
    while left > 0:
        most = tl.minimum(left, HELD).to(tl.int32)
        held, _j, filled, last, last_j = select_first(
            image, g, size, most, last, last_j, read_columns, read_overlaps, rank_overlaps, RULE, BLOCK
        )  # fmt: skip
        left = tl.where(filled == HELD, left - HELD, 0)
        held = tl.where(tl.arange(0, HELD) < filled, held, never(dtype))
        while filled > 0:
            best = least(held)
            total += (-best).to(RULE.dtype, bitcast=True)
            times = tl.sum((held == best).to(tl.int32), 0)
            filled -= times
            while times > 1:
                total += (-best).to(RULE.dtype, bitcast=True)
                times -= 1
            held = tl.where(held == best, never(dtype), held)
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
def take_preferred(
    claims,  # [N], of the image
    image,
    g,
    size,
    topk,
    read_columns: tl.constexpr,
    read_overlaps: tl.constexpr,
    read_costs: tl.constexpr,
    K_ROUNDING: tl.constexpr,
    RULE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Ground truth g claims its k preferred anchors."""
    total = sum_largest(image, g, size, topk, read_columns, read_overlaps, RULE, BLOCK)
    k = dynamic_k(total, size, K_ROUNDING)
    last, last_j = before_all(tl.int64), tl.full((), -1, tl.int32)
    while k > 0:
        most = tl.minimum(k, HELD).to(tl.int32)
        _key, j, filled, last, last_j = select_first(
            image, g, size, most, last, last_j, read_columns, read_costs, rank_costs, RULE, BLOCK
        )  # fmt: skip
        k = tl.where(filled == HELD, k - HELD, 0)
        tl.atomic_add(claims + j, ONE_CLAIM + g, tl.arange(0, HELD) < filled, sem="relaxed")


@triton.jit
def read_owner(claim):
    """The only ground truth that took an anchor, or what it has instead."""
    takers = claim >> 32
    return tl.where(takers == 0, NOBODY, tl.where(takers == 1, claim & 0xFFFFFFFF, SEVERAL))


@triton.jit
def settle_conflicts(image, gts, j, owner, read_costs: tl.constexpr, RULE: tl.constexpr):
    """`owner` of anchors j, with those that several took given to the ground truth of lowest cost in the image: one
    anchor after another, for they are few. read_costs(image, g, j, mask, RULE) has one anchor here and many g."""
    several = owner == SEVERAL
    left = tl.sum(several.to(tl.int32), 0)
    while left > 0:
        anchor = tl.min(tl.where(several, j.to(tl.int32), 2**31 - 1), 0)
        best, best_g = never(tl.int64), tl.full((), 0, tl.int32)
        first = tl.full((), 0, tl.int32)
        while first < gts:
            g = first + tl.arange(0, GTS)
            least_key, least_g = first_of(preference(read_costs(image, g, anchor, g < gts, RULE)), g)
            best_g = tl.where(least_key < best, least_g, best_g)
            best = tl.minimum(best, least_key)
            first += GTS
        owner = tl.where(j == anchor, best_g.to(tl.int64), owner)
        several &= j != anchor
        left -= 1
    return owner


@triton.jit
def store_match(
    matched_gt,  # [B, N]
    matched_iou,  # [B, N]
    num_fg,  # [B]
    b,
    N,
    j,
    owner,
    overlap,
):
    """What became of anchors j of image b: who owns them, with what overlap."""
    anchor, there, taken = b * N + j, j < N, owner >= 0
    tl.debug_barrier()  # until all threads that hold an anchor have read its owner
    tl.store(matched_gt + anchor, tl.where(taken, owner, NOBODY), there)
    overlap = overlap.to(tl.float32)
    tl.store(matched_iou + anchor, tl.where(taken & (overlap == overlap), overlap, 0.0), there)
    tl.atomic_add(num_fg + b, tl.sum((taken & there).to(tl.int64), 0))
