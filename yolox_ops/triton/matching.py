"""Dynamic k matching of one image's matrices, stored (dynamic_k_match) or computed where they are looked at (simota).

Three functions say what the matrices are; `image` is a NamedTuple that they understand:
  read_columns(image, first, BLOCK)       a block of anchors from slot `first` on, and which of them exist
  read_overlaps(image, g, j, mask, RULE)  IoU of ground truth g with anchors j, 0 where masked out
  read_costs(image, g, j, mask, RULE)     likewise their costs in float64, +inf where they may not match
"""

import triton
import triton.language as tl

# Anchors that a ground truth looks at in one step, and anchors of a program that goes through all of them.
BLOCK = 1024
TILE = 32
# Ground truths that a program looks at side by side, for their loads not to wait for each other.
GTS = tl.constexpr(16)

# What an anchor has instead of a ground truth.
NOBODY = tl.constexpr(-1)
SEVERAL = tl.constexpr(-2)
NO_CANDIDATE = tl.constexpr(-3)

NEVER = tl.constexpr(2**63 - 1)


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
def next_largest(
    image, g, size, block, last,
    read_columns: tl.constexpr, read_overlaps: tl.constexpr, RULE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """largest_below of all overlaps of ground truth g. `block` has its first ones."""
    value, times = largest_below(block, last)
    first = tl.full((), BLOCK, tl.int32)
    while first < size:  # what follows the first block is rare and is looked at again
        j, there = read_columns(image, first, BLOCK)
        other, others = largest_below(read_overlaps(image, g, j, there, RULE), last)
        times = tl.where(other > value, others, tl.where(other == value, times + others, times))
        value = tl.where(other > value, other, value)
        first += BLOCK
    return value, times


@triton.jit
def sum_largest(
    image, g, size, topk,
    read_columns: tl.constexpr, read_overlaps: tl.constexpr, RULE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sum of the topk largest overlaps of ground truth g, the largest first."""
    j, there = read_columns(image, 0, BLOCK)
    block = read_overlaps(image, g, j, there, RULE)  # stays in registers
    total, last = tl.full((), 0.0, block.dtype), tl.full((), float("inf"), block.dtype)
    while (topk > 0) & (last > 0.0):
        last, times = next_largest(image, g, size, block, last, read_columns, read_overlaps, RULE, BLOCK)
        times = tl.minimum(times, topk)
        topk -= times
        while times > 0:
            total += last
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
def preferred_after(key, j, last_key, last_j):
    """The preferred of the pairs that come after the last one."""
    after = (key > last_key) | ((key == last_key) & (j > last_j))
    best = tl.min(tl.where(after, key, NEVER), 0)
    return best, tl.min(tl.where(after & (key == best), j, NEVER), 0)


@triton.jit
def next_preferred(
    image, g, size, block_key, block_j, last_key, last_j,
    read_columns: tl.constexpr, read_costs: tl.constexpr, RULE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """preferred_after of all pairs of ground truth g. `block_key` and `block_j` have its first ones."""
    best_key, best_j = preferred_after(block_key, block_j, last_key, last_j)
    first = tl.full((), BLOCK, tl.int32)
    while first < size:
        j, there = read_columns(image, first, BLOCK)
        key, j = preferred_after(preference(read_costs(image, g, j, there, RULE)), j, last_key, last_j)
        better = (key < best_key) | ((key == best_key) & (j < best_j))
        best_key, best_j = tl.where(better, key, best_key), tl.where(better, j, best_j)
        first += BLOCK
    return best_key, best_j


@triton.jit
def take_anchor(
    owner,  # of the anchor
    g,
):
    """Ground truth g takes an anchor, alone or as one of several."""
    before = tl.atomic_cas(owner, tl.full((), NOBODY, tl.int64), g)
    if before != NOBODY:
        tl.atomic_xchg(owner, SEVERAL)


@triton.jit
def take_preferred(
    owner,  # [N], of the image
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
    """Ground truth g takes its k preferred anchors."""
    total = sum_largest(image, g, size, topk, read_columns, read_overlaps, RULE, BLOCK)
    k = dynamic_k(total, size, K_ROUNDING)
    block_j, there = read_columns(image, 0, BLOCK)
    block_key = preference(read_costs(image, g, block_j, there, RULE))
    key, j = tl.full((), -(2**63), tl.int64), tl.full((), -1, tl.int64)  # before all pairs
    while k > 0:
        key, j = next_preferred(
            image, g, size, block_key, block_j, key, j, read_columns, read_costs, RULE, BLOCK
        )  # fmt: skip
        k = tl.where(key == NEVER, 0, k - 1)
        if key != NEVER:
            take_anchor(owner + j, g)


@triton.jit
def settle_conflicts(image, gts, j, owner, read_costs: tl.constexpr, RULE: tl.constexpr):
    """`owner` of anchors j, with those that several took given to the ground truth of lowest cost in the image."""
    several = owner == SEVERAL
    if tl.max(several.to(tl.int32), 0) > 0:
        best, best_g = tl.full(owner.shape, NEVER, tl.int64), tl.full(owner.shape, NEVER, tl.int64)
        first = tl.full((), 0, tl.int64)
        while first < gts:
            g = first + tl.arange(0, GTS)[None, :]
            key = preference(read_costs(image, g, j[:, None] + 0 * g, several[:, None] & (g < gts), RULE))
            least = tl.min(key, 1)
            least_g = tl.min(tl.where(key == least[:, None], g, NEVER), 1)
            best_g = tl.where(least < best, least_g, best_g)
            best = tl.minimum(best, least)
            first += GTS
        owner = tl.where(several, best_g, owner)
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
