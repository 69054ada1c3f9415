"""Sinkhorn's iteration in the log domain, what sinkhorn and ota share: csrc/transport/sinkhorn.h with potentials.

A potential is a float64: the logarithm of what a row or column should carry, less that of what it would carry at
potential 0. Terms are potentials of the other side less cost / epsilon, -inf where a pair has no mass. Exponentials run
in the dtype T of the arithmetic, on what is left once the largest term is taken away."""

import triton
import triton.language as tl

MOST_MASS = 1e12
MOST_SCALED = tl.constexpr(2.0**40)  # |cost / epsilon| of a pair that has mass; csrc/transport/sinkhorn.h says why
TINY_MASS = tl.constexpr(1e-8)  # added to a supply or a demand, so that one of 0 has a logarithm


@triton.jit
def scale_cost(cost, per_epsilon):
    """cost / epsilon; +inf for a pair that is to have no mass."""
    scaled = cost.to(tl.float64) * per_epsilon
    return tl.where(tl.abs(scaled) <= MOST_SCALED, scaled, float("inf"))


@triton.jit
def add_terms(top, total, terms, AXIS: tl.constexpr, T: tl.constexpr):
    """The largest term so far, and the sum of e^(term - largest), with `terms` taken in along an axis."""
    highest = tl.maximum(top, tl.max(terms, AXIS))
    base = tl.where(highest == float("-inf"), 0.0, highest)
    powers = tl.exp((terms - tl.expand_dims(base, AXIS)).to(T)).to(tl.float64)
    return highest, total * tl.exp((top - base).to(T)).to(tl.float64) + tl.sum(powers, AXIS)


@triton.jit
def potential(log_held, top, total):
    """For rows or columns to hold that much; 0 for one without a pair."""
    return tl.where(top == float("-inf"), 0.0, log_held - (top + tl.log(total)))


@triton.jit
def unsettled(old, new, top, tolerance):
    """Whether rows held, before a new potential, more than a part `tolerance` more or less than they should; one that
    holds nothing cannot hold what it should."""
    excess = tl.exp(tl.minimum(old - new, 700.0)) - 1.0
    return ((tl.abs(excess) <= tolerance) | (top == float("-inf"))) == 0
