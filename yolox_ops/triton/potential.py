"""Potentials, and the entries of a plan that follow from them: csrc/transport/potential.cuh. A potential is the sum of
two of T, high and low, so that nothing is lost where costs are large and only differences count."""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from yolox_ops.triton.launch import bits_of, round_to
from yolox_ops.triton.log_sum import MOST_SCALED
from yolox_ops.triton.numeric import log_scaled


class Scale(NamedTuple):
    """What a cost counts by, and the largest that has mass; outside a kernel their bits, for numeric.from_bits."""

    high: int  # high + low: -log2(e) / epsilon
    low: int
    most: int


def find_scale(epsilon: float, dtype: torch.dtype) -> Scale:
    exact, per_epsilon = -1.4426950408889634 / epsilon, 1 / epsilon
    high = round_to(exact, dtype)
    most = torch.tensor(MOST_SCALED.value * epsilon, dtype=dtype)
    while most.item() * per_epsilon > MOST_SCALED.value:
        most = most.nextafter(most * 0)
    while (larger := most.nextafter(most * 2)).item() * per_epsilon <= MOST_SCALED.value:
        most = larger
    return Scale(*(bits_of(number, dtype) for number in (high, exact - high, most.item())))


@triton.jit
def add_exactly(a, b):
    """The sum, and what it lost."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


@triton.jit
def lift(high, low, by):
    """The potential, greater by that."""
    total, lost = add_exactly(high, by)
    rest = lost + low
    lifted = total + rest
    return lifted, rest - (lifted - total)


@triton.jit
def exponent(x_high, x_low, y_high, y_low, cost, scale):
    """The logarithm of an entry, to base 2."""
    total, lost = add_exactly(x_high, y_high)
    left = tl.fma(cost, scale.low, tl.fma(cost, scale.high, total))
    return left + (lost + (x_low + y_low))


@triton.jit
def has_mass(cost, scale):
    return tl.abs(cost) <= scale.most


@triton.jit
def entry(x_high, x_low, y_high, y_low, cost, scale):
    return tl.where(has_mass(cost, scale), tl.exp2(exponent(x_high, x_low, y_high, y_low, cost, scale)), 0.0)


@triton.jit
def ratio_or_zero(a, b):
    return tl.where(b > 0.0, a / tl.where(b > 0.0, b, 1.0), 0.0)


@triton.jit
def move(high, low, factor):
    """The potential with which entries are that many times as large; with 0, as it was."""
    power = log_scaled(tl.where(factor > 0.0, factor, 1.0), 0) * 1.4426950408889634
    return lift(high, low, power)


@triton.jit
def unsettled(held, mass, tolerance):
    """Whether it is more than a part `tolerance` more or less than it should be; what holds nothing cannot be as it
    should."""
    return (tl.abs(held - mass) > tolerance * mass) & (held > 0.0)
