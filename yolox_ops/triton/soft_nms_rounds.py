"""A round of soft_nms: the leader of a group is found, and the scores of its rivals are lowered. A score of NaN marks a
box that is gone. A group in memory is `size` boxes from `begin` on; its positions count from there."""

import triton
import triton.language as tl

from yolox_ops.triton.boxes import divide, iou, load_box
from yolox_ops.triton.numeric import exp_scaled


@triton.jit
def find_leader(score, position, nobody):
    """The largest score and the first position that has it, `nobody` if all are gone."""
    top = tl.max(tl.where(score == score, score, float("-inf")), 0)
    return top + 0.0, tl.min(tl.where(score == top, position, nobody), 0)  # -0 becomes 0


@triton.jit
def sum_scores(score, rival):
    """Sum and count of the rivals' scores; float64 holds the sum of thousands of float32 scores exactly."""
    counts = (score == score) & rival
    return tl.sum(tl.where(counts, score.to(tl.float64), 0.0), 0), tl.sum(counts.to(tl.float64), 0)


@triton.jit
def exponent_scale(sigma):
    """The factor of IoU^2 in the exponent; a mean that is not positive lowers nothing, and the quotient of a tiny sigma
    stays finite."""
    least = 2.2250738585072014e-308 if sigma.dtype == tl.float64 else 1.1754943508222875e-38
    width = tl.where(sigma > least, sigma, least)
    return tl.where(sigma > 0, divide(tl.full((), -1.0, sigma.dtype), width), 0.0)


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
def find_leader_in_memory(
    scores,  # [B, N]
    begin,
    size,
    BLOCK: tl.constexpr,
):
    """find_leader of a group in memory."""
    lane = tl.arange(0, BLOCK)
    best = tl.full((BLOCK,), float("nan"), scores.dtype.element_ty)
    best_position = tl.full((BLOCK,), size, tl.int64)
    first = tl.full((), 0, tl.int64)
    while first < size:
        position = first + lane
        score = tl.load(scores + begin + position, position < size, float("nan"))
        ahead = (score > best) | ((score == score) & (best != best))
        best, best_position = tl.where(ahead, score, best), tl.where(ahead, position, best_position)
        first += BLOCK
    return find_leader(best, best_position, size)


@triton.jit
def mean_of_rivals(
    scores,  # [B, N]
    labels,  # [B, N]
    begin,
    size,
    chosen,
    BLOCK: tl.constexpr,
):
    """The mean score of the chosen box's label in a group, without the box."""
    lane = tl.arange(0, BLOCK)
    label = tl.load(labels + begin + chosen)
    total, rivals = tl.full((), 0.0, tl.float64), tl.full((), 0.0, tl.float64)
    first = tl.full((), 0, tl.int64)
    while first < size:
        position = first + lane
        score = tl.load(scores + begin + position, position < size, float("nan"))
        rival = (tl.load(labels + begin + position, position < size, 0) == label) & (position != chosen)
        some_total, some_rivals = sum_scores(score, rival)
        total += some_total
        rivals += some_rivals
        first += BLOCK
    return total / rivals


@triton.jit
def lower_rivals(
    boxes,  # [B, N, 4]
    scores,  # [B, N]
    labels,  # [B, N]
    begin,
    size,
    chosen,
    scale,
    limit,
    floor,
    METHOD: tl.constexpr,
    FMT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Takes the chosen box out of a group and lowers the scores of those that have its label."""
    T: tl.constexpr = scores.dtype.element_ty
    lane = tl.arange(0, BLOCK)
    box = load_box(boxes, (begin + chosen) * 4, chosen < size, FMT, T)
    label = tl.load(labels + begin + chosen)
    first = tl.full((), 0, tl.int64)
    while first < size:
        position = first + lane
        score = tl.load(scores + begin + position, position < size, float("nan"))
        overlap = iou(box, load_box(boxes, (begin + position) * 4, position < size, FMT, T))
        rival = tl.load(labels + begin + position, position < size, 0) == label
        lowered = tl.where(rival, decay(score, overlap, scale, limit, floor, METHOD), score)
        tl.store(scores + begin + position, tl.where(position == chosen, float("nan"), lowered), position < size)
        first += BLOCK
