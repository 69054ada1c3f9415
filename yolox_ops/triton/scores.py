"""The class cost of SimOTA, the formulas of csrc/assign/{rule,scores}.h; the same to the bit in float32."""

from typing import NamedTuple

import triton
import triton.language as tl

from yolox_ops.triton.boxes import divide
from yolox_ops.triton.numeric import exp_scaled, from_bits, log_scaled, split, sqrt

# Class sums that run side by side, and factors that each takes in before its logarithm.
SUMS = tl.constexpr(16)
FACTORS = tl.constexpr(64)


class Rule(NamedTuple):
    """What kernels are compiled for."""

    dtype: tl.dtype  # of the arithmetic
    shift: int  # odds are kept times 2^shift, for those that are tiny
    has_obj: bool
    candidates: str


class Numbers(NamedTuple):
    """The numbers of SimOTA's rule, in the dtype of the arithmetic. Kernels take them as bits (see numeric.from_bits),
    and are compiled for none."""

    center_radius: float
    outside_penalty: float  # in float64, where adding it rounds no cost away
    cls_weight: float
    iou_weight: float
    iou_eps: float


@triton.jit
def read_numbers(center_radius, outside_penalty, cls_weight, iou_weight, iou_eps, RULE: tl.constexpr):
    """Numbers of what kernels are called with."""
    return Numbers(
        from_bits(center_radius, RULE.dtype),
        outside_penalty,
        from_bits(cls_weight, RULE.dtype),
        from_bits(iou_weight, RULE.dtype),
        from_bits(iou_eps, RULE.dtype),
    )


@triton.jit
def score_odds(cls_exp, obj_exp, RULE: tl.constexpr):
    """Without objectness the score is sigmoid(c), which is what o = c gives."""
    other = obj_exp if RULE.has_obj else cls_exp
    odds = cls_exp * (1.0 + other * (1.0 / (1 << RULE.shift))) + other
    odds = tl.where(odds > 1e38, 1e38, odds)
    lowest = 7.440151952041672e-44 * (1 << RULE.shift)
    return tl.where(odds < lowest, lowest, odds)


@triton.jit
def over_odds(odds, RULE: tl.constexpr):
    s1 = 1.0 + odds * (1.0 / (1 << RULE.shift))
    return s1 + sqrt(s1)


@triton.jit
def softplus_of_minus(x):
    """log(1 + e^-x), at most 200: half of that reaches the clamp already, and for -inf it must stay a number."""
    log = log_scaled(1.0 + exp_scaled(-x, 0), 0)
    return tl.where(x < -60.0, tl.where(x < -200.0, 200.0, -x), log)


@triton.jit
def load_classes(
    rows,  # [anchors, 1], pointers to [C] logits
    class_stride,
    mask,  # [anchors, 1]
    first,
    end,
    T: tl.constexpr,
):
    """The logits of SUMS classes, those from `end` on such as add nothing."""
    c = first + tl.arange(0, SUMS)[None, :]
    there = mask & (c < end)
    return tl.where(there, tl.load(rows + c.to(tl.int64) * class_stride, there, 0.0).to(T), -1e30)


@triton.jit
def sum_negatives(
    rows,  # [anchors], pointers to [C] logits
    class_stride,
    mask,  # [anchors]
    C,
    obj_exp,  # [anchors]
    partial_sums,  # [anchors, SUMS], workspace
    RULE: tl.constexpr,
):
    """Sum over classes of -log(1 - p), as the logarithm of one quotient of products."""
    rows, there, obj_exp = rows[:, None], mask[:, None], obj_exp[:, None]
    anchor = tl.arange(0, mask.shape[0])
    total = tl.zeros(mask.shape, tl.float64)
    chunk = tl.full((), 0, tl.int32)
    while chunk < C:
        poison = tl.zeros((mask.shape[0], SUMS), RULE.dtype)
        over, under, exponent = poison + 1.0, poison + 1.0, poison.to(tl.int32)
        first, end = chunk, tl.minimum(C, chunk + SUMS * FACTORS)
        next_logit = load_classes(rows, class_stride, there, first, end, RULE.dtype)
        while first < end:
            logit = next_logit
            first += SUMS
            next_logit = load_classes(rows, class_stride, there, first, end, RULE.dtype)  # while this one is worked on
            odds = score_odds(exp_scaled(-logit, RULE.shift), obj_exp, RULE)
            m_over, e_over = split(over_odds(odds, RULE))
            m_under, e_under = split(odds)
            over *= m_over
            under *= m_under
            exponent += e_over - e_under + RULE.shift
            poison += odds * 0.0  # the split loses a NaN
        sums = log_scaled(divide(over, under), exponent) + poison
        tl.debug_barrier()  # until the sums before are read
        tl.store(partial_sums + anchor[:, None] * SUMS + tl.arange(0, SUMS)[None, :], sums)
        tl.debug_barrier()
        for i in tl.static_range(SUMS):
            total += tl.load(partial_sums + anchor * SUMS + i).to(tl.float64)
        chunk += SUMS * FACTORS
    return total


@triton.jit
def entropies(logit, obj_exp, obj_softplus, RULE: tl.constexpr):
    """-log(p) and -log(1 - p) of the score of one class, clamped at 100 as in PyTorch's binary_cross_entropy."""
    softplus = softplus_of_minus(logit)
    odds = score_odds(exp_scaled(-logit, RULE.shift), obj_exp, RULE)
    negative = log_scaled(divide(over_odds(odds, RULE), odds), RULE.shift)
    positive = (softplus + (obj_softplus if RULE.has_obj else softplus)) * 0.5
    return tl.where(positive > 100.0, 100.0, positive), tl.where(negative > 100.0, 100.0, negative)


@triton.jit
def pair_cost(overlap, logit, score, numbers, RULE: tl.constexpr):
    """The cost of pairs, without the penalty. `logit` is the anchor's for the ground truth's class."""
    negatives, obj_exp, obj_softplus = score
    positive, negative = entropies(logit, obj_exp, obj_softplus, RULE)
    total = (negatives + (positive - negative).to(tl.float64)).to(RULE.dtype)
    total = tl.where(total < 0.0, 0.0, total)
    return total * numbers.cls_weight - log_scaled(overlap + numbers.iou_eps, 0) * numbers.iou_weight
