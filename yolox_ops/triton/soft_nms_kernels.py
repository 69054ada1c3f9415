"""What soft_nms launches: for a group that fits in registers, and for a larger one."""

import triton
import triton.language as tl

from yolox_ops.triton.boxes import iou, load_box
from yolox_ops.triton.soft_nms_rounds import (
    decay,
    exponent_scale,
    find_leader,
    find_leader_in_memory,
    lower_rivals,
    mean_of_rivals,
    sum_scores,
)


@triton.jit
def is_member(
    groups,  # [B, N]
    scores,  # [B, N]
    row,
    position,
    group,
    N,
):
    """Whether a position of the image that begins at `row` holds a box that counts, of that group."""
    inside = (position >= 0) & (position < N)
    score = tl.load(scores + row + position, inside, float("nan"))
    return (score == score) & (tl.load(groups + row + position, inside, 0) == group)


@triton.jit(do_not_specialize=["N", "most"])
def small_group_kernel(
    boxes,  # [B, N, 4]
    scores,  # [B, N]
    groups,  # [B, N]
    picked,  # [B, N], the score with which a box is picked
    N,
    most,
    sigma: tl.float64,
    limit: tl.float64,
    floor: tl.float64,
    METHOD: tl.constexpr,
    FMT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program for each position; it works if a group of at most BLOCK boxes begins there."""
    T: tl.constexpr = scores.dtype.element_ty
    sigma, limit, floor = tl.full((), sigma, T), tl.full((), limit, T), tl.full((), floor, T)
    start = tl.program_id(0).to(tl.int64) % N
    row = tl.program_id(0).to(tl.int64) - start
    group = tl.load(groups + row + start)
    follows = is_member(groups, scores, row, start - 1, group, N)
    begins = is_member(groups, scores, row, start, group, N) & (follows == 0)
    if begins & (is_member(groups, scores, row, start + BLOCK, group, N) == 0):
        lane = tl.arange(0, BLOCK)
        box_index = row + start + lane
        member = is_member(groups, scores, row, start + lane, group, N)
        score = tl.load(scores + box_index, member, float("nan"))
        box = load_box(boxes, box_index * 4, member, FMT, T)
        scale = exponent_scale(sigma)
        count = 0
        top, chosen = find_leader(score, lane, BLOCK)
        while (chosen < BLOCK) & (count < most):
            tl.store(picked + row + start + chosen, top)
            score = tl.where(lane == chosen, float("nan"), score)
            if METHOD == "mean_gaussian":
                total, rivals = sum_scores(score, member)
                scale = exponent_scale((total / rivals).to(T))
            overlap = iou(load_box(boxes, (row + start + chosen) * 4, chosen < BLOCK, FMT, T), box)
            score = decay(score, overlap, scale, limit, floor, METHOD)
            count += 1
            top, chosen = find_leader(score, lane, BLOCK)


@triton.jit
def locate_group(
    groups,  # [B, N]
    scores,  # [B, N]
    row,
    start,
    group,
    N,
    SMALL: tl.constexpr,
    LARGE: tl.constexpr,
):
    """Where the group of position `start` begins, at most SMALL positions before it, and how many boxes it has."""
    before = is_member(groups, scores, row, start - 1 - tl.arange(0, SMALL), group, N)
    start -= tl.sum(before.to(tl.int32), 0)
    size = tl.full((), 0, tl.int64)
    while is_member(groups, scores, row, start + size, group, N):
        more = is_member(groups, scores, row, start + size + tl.arange(0, LARGE), group, N)
        size += tl.sum(more.to(tl.int32), 0)
    return start, size


@triton.jit(do_not_specialize=["N", "most"])
def large_group_kernel(
    boxes,  # [B, N, 4]
    scores,  # [B, N]
    current,  # [B, N]
    groups,  # [B, N]
    labels,  # [B, N]
    picked,  # [B, N], the score with which a box is picked
    rank,  # [B, N], the round in which it is
    N,
    most,
    sigma: tl.float64,
    limit: tl.float64,
    floor: tl.float64,
    METHOD: tl.constexpr,
    FMT: tl.constexpr,
    SMALL: tl.constexpr,
    LARGE: tl.constexpr,
    LEAST: tl.constexpr,
):
    """One program for each SMALL positions; it works if the first of them is the first such one in a group of more than
    LEAST boxes (LEAST is SMALL or 0). A box decays those of its group that have its label. `scores` tell all programs
    which boxes count; `current` ones are lowered."""
    T: tl.constexpr = scores.dtype.element_ty
    sigma, limit, floor = tl.full((), sigma, T), tl.full((), limit, T), tl.full((), floor, T)
    programs = tl.cdiv(N, SMALL)
    row = (tl.program_id(0) // programs).to(tl.int64) * N
    start = (tl.program_id(0) % programs).to(tl.int64) * SMALL
    group = tl.load(groups + row + start)
    first = is_member(groups, scores, row, start - SMALL, group, N) == 0
    if is_member(groups, scores, row, start, group, N) & first:
        start, size = locate_group(groups, scores, row, start, group, N, SMALL, LARGE)
        if size > LEAST:
            begin = row + start
            scale = exponent_scale(sigma)
            count = 0
            top, chosen = find_leader_in_memory(current, begin, size, LARGE)
            while (chosen < size) & (count < most):
                tl.store(picked + begin + chosen, top)
                tl.store(rank + begin + chosen, count)
                if METHOD == "mean_gaussian":
                    scale = exponent_scale(mean_of_rivals(current, labels, begin, size, chosen, LARGE).to(T))
                lower_rivals(boxes, current, labels, begin, size, chosen, scale, limit, floor, METHOD, FMT, LARGE)
                tl.debug_barrier()  # other threads of the program read these scores next
                count += 1
                top, chosen = find_leader_in_memory(current, begin, size, LARGE)
