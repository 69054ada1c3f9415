"""soft_nms in Triton. The boxes that count are laid out label by label, in order of index. A label's sequence is one
program's work, and sorting the decayed scores merges the sequences. Kernels know boxes by their position in this
layout; a score of NaN marks a box that is gone."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.ops.soft_nms import check
from yolox_ops.triton.boxes import divide, iou, load_box
from yolox_ops.triton.launch import blocks, launch
from yolox_ops.triton.numeric import exp_scaled

SMALL = 128  # a group of so many boxes is held in registers
LARGE = 1024  # boxes of a step through a larger group


@triton.jit
def is_member(groups, scores, row, at, group, N):
    """Whether position `at` of the image that begins at `row` holds a box that counts, of that group."""
    inside = (at >= 0) & (at < N)
    score = tl.load(scores + row + at, inside, float("nan"))
    return (score == score) & (tl.load(groups + row + at, inside, 0) == group)


@triton.jit
def lead(score, position, NOBODY):
    """The largest score and the first position that has it, NOBODY if all are gone."""
    top = tl.max(tl.where(score == score, score, float("-inf")), 0)
    return top + 0.0, tl.min(tl.where(score == top, position, NOBODY), 0)  # -0 becomes 0


@triton.jit
def sums(score, rival):
    """Sum and count of the rivals' scores; float64 holds the sum of thousands of float32 scores exactly."""
    counts = (score == score) & rival
    return tl.sum(tl.where(counts, score.to(tl.float64), 0.0), 0), tl.sum(counts.to(tl.float64), 0)


@triton.jit
def exponent_scale(sigma):
    """The factor of IoU^2 in the exponent; a mean that is not positive lowers nothing."""
    return tl.where(sigma > 0, divide(tl.full((), -1.0, sigma.dtype), sigma), 0.0)


@triton.jit
def decay(score, overlap, scale, limit, floor, METHOD: tl.constexpr):
    if METHOD == "hard":
        lowered = tl.full(score.shape, float("nan"), score.dtype)
    elif METHOD == "linear":
        lowered = score * (1.0 - overlap)
    else:
        lowered = score * exp_scaled(overlap * overlap * scale, 0)
    return tl.where(overlap > limit, tl.where(lowered >= floor, lowered, float("nan")), score)


@triton.jit
def small_group_kernel(
    boxes,
    scores,
    groups,
    picked,
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
    begins = is_member(groups, scores, row, start, group, N) & (
        is_member(groups, scores, row, start - 1, group, N) == 0
    )
    if begins & (is_member(groups, scores, row, start + BLOCK, group, N) == 0):
        lane = tl.arange(0, BLOCK)
        at = row + start + lane
        member = is_member(groups, scores, row, start + lane, group, N)
        score = tl.load(scores + at, member, float("nan"))
        box = load_box(boxes, at * 4, member, FMT, T)
        scale = exponent_scale(sigma)
        count = 0
        top, chosen = lead(score, lane, BLOCK)
        while (chosen < BLOCK) & (count < most):
            tl.store(picked + row + start + chosen, top)
            score = tl.where(lane == chosen, float("nan"), score)
            if METHOD == "mean_gaussian":
                total, rivals = sums(score, member)
                scale = exponent_scale((total / rivals).to(T))
            overlap = iou(load_box(boxes, (row + start + chosen) * 4, chosen < BLOCK, FMT, T), box)
            score = decay(score, overlap, scale, limit, floor, METHOD)
            count += 1
            top, chosen = lead(score, lane, BLOCK)


@triton.jit
def lead_of_group(scores, begin, size, BLOCK: tl.constexpr):
    """lead() of `size` scores from `begin` on."""
    lane = tl.arange(0, BLOCK)
    best = tl.full((BLOCK,), float("nan"), scores.dtype.element_ty)
    best_at = tl.full((BLOCK,), size, tl.int64)
    step = tl.full((), 0, tl.int64)
    while step < size:
        score = tl.load(scores + begin + step + lane, step + lane < size, float("nan"))
        ahead = (score > best) | ((score == score) & (best != best))
        best, best_at = tl.where(ahead, score, best), tl.where(ahead, step + lane, best_at)
        step += BLOCK
    return lead(best, best_at, size)


@triton.jit
def mean_of_group(scores, labels, begin, size, chosen, BLOCK: tl.constexpr):
    """The mean score of the chosen box's label, without the box."""
    lane = tl.arange(0, BLOCK)
    label = tl.load(labels + begin + chosen)
    total, rivals = tl.full((), 0.0, tl.float64), tl.full((), 0.0, tl.float64)
    step = tl.full((), 0, tl.int64)
    while step < size:
        inside = step + lane < size
        score = tl.load(scores + begin + step + lane, inside, float("nan"))
        rival = (tl.load(labels + begin + step + lane, inside, 0) == label) & (step + lane != chosen)
        some_total, some_rivals = sums(score, rival)
        total += some_total
        rivals += some_rivals
        step += BLOCK
    return total / rivals


@triton.jit
def large_group_kernel(
    boxes,
    scores,
    current,
    groups,
    labels,
    picked,
    rank,
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
        lane = tl.arange(0, LARGE)
        before = is_member(groups, scores, row, start - 1 - tl.arange(0, SMALL), group, N)
        start -= tl.sum(before.to(tl.int32), 0)
        size = tl.full((), 0, tl.int64)
        while is_member(groups, scores, row, start + size, group, N):
            size += tl.sum(is_member(groups, scores, row, start + size + lane, group, N).to(tl.int32), 0)
        if size > LEAST:
            begin = row + start
            scale = exponent_scale(sigma)
            count = 0
            top, chosen = lead_of_group(current, begin, size, LARGE)
            while (chosen < size) & (count < most):
                tl.store(picked + begin + chosen, top)
                tl.store(rank + begin + chosen, count)
                if METHOD == "mean_gaussian":
                    scale = exponent_scale(mean_of_group(current, labels, begin, size, chosen, LARGE).to(T))
                chosen_box = load_box(boxes, (begin + chosen) * 4, chosen < size, FMT, T)
                label = tl.load(labels + begin + chosen)
                step = tl.full((), 0, tl.int64)
                while step < size:
                    at, inside = begin + step + lane, step + lane < size
                    score = tl.load(current + at, inside, float("nan"))
                    overlap = iou(chosen_box, load_box(boxes, at * 4, inside, FMT, T))
                    rival = tl.load(labels + at, inside, 0) == label
                    lowered = tl.where(rival, decay(score, overlap, scale, limit, floor, METHOD), score)
                    tl.store(current + at, tl.where(step + lane == chosen, float("nan"), lowered), inside)
                    step += LARGE
                tl.debug_barrier()  # other threads of the program read these scores next
                count += 1
                top, chosen = lead_of_group(current, begin, size, LARGE)


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None,
    method: str,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
    max_detections: int,
    fmt: str,
) -> tuple[Tensor, Tensor, Tensor]:
    check(boxes, scores, labels, method, sigma, iou_threshold, score_threshold, max_detections, fmt)
    B, N, _ = boxes.shape
    K = N if max_detections < 0 else min(max_detections, N)
    dtype = wide_dtype(boxes, scores)
    scores = scores.to(dtype)
    # A negative score rises as it decays, so labels cannot be merged by score: one program serves an image.
    rising = score_threshold < 0

    gone = ~(scores >= score_threshold)
    order = gone.to(torch.uint8).argsort(dim=1, stable=True)
    labels = order.new_zeros((B, N)) if labels is None else labels.gather(1, order)
    if not rising:
        labels, by_label = labels.sort(dim=1, stable=True)
        order = order.gather(1, by_label)
    scores = scores.masked_fill(gone, float("nan")).gather(1, order)
    dense = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    picked = scores.new_full((B, N), float("-inf"))
    rank = order.new_full((B, N), N)

    limit = 0.0 if method == "gaussian" else max(iou_threshold, 0.0)  # boxes that do not overlap never decay
    rule = (N, K, sigma, limit, score_threshold)
    choice = {"METHOD": method, "FMT": fmt}
    groups = torch.zeros_like(labels) if rising else labels
    if not rising:
        launch(small_group_kernel, B * N, dense, scores, groups, picked, *rule, **choice, BLOCK=SMALL, num_warps=1)
    tensors = dense, scores, scores.clone(), groups, labels, picked, rank
    sizes = {"SMALL": SMALL, "LARGE": LARGE, "LEAST": 0 if rising else SMALL}
    launch(large_group_kernel, B * blocks(N, SMALL), *tensors, *rule, **choice, **sizes, num_warps=16)

    if rising:
        counts = (rank < N).sum(1)
        sequence = rank.argsort(dim=1, stable=True)
        decayed, indices = picked.gather(1, sequence), order.gather(1, sequence)
    else:
        counts = (picked >= 0).sum(1).clamp(max=K)
        by_index = torch.empty_like(picked).scatter_(1, order, picked)  # of equal scores the lower index comes first
        decayed, indices = by_index.sort(dim=1, descending=True, stable=True)
    selected = torch.arange(K, device=boxes.device) < counts[:, None]
    return indices[:, :K].where(selected, -1), decayed[:, :K].where(selected, 0.0), counts
