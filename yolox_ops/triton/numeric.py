"""Scalar arithmetic of csrc/core/numeric.h, the same to the bit in float32. float64 has the device's own functions."""

import triton
import triton.language as tl


@triton.jit
def from_bits(bits, dtype: tl.constexpr):
    """The number of float32 or float64 that has these bits, an int64. As a float64 argument it would cost a float32
    kernel a conversion, which is a float64 instruction of every thread."""
    if dtype == tl.float64:
        return bits.to(tl.float64, bitcast=True)
    else:
        return bits.to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def sqrt(x):
    if x.dtype == tl.float64:
        return tl.sqrt(x)
    else:
        return tl.sqrt_rn(x)


@triton.jit
def exp_scaled(x, k: tl.constexpr):
    """e^x 2^k. What is too small is 0, what is too large the largest that fits."""
    if x.dtype == tl.float64:
        return tl.exp(tl.where(x > 300, 300, x)) * (1 << k)
    else:
        ln2 = tl.full((), 0.693147, tl.float32)  # a tensor, for its products to round as float32
        highest, lowest = ln2 * (125 - k), -ln2 * (127 + k)
        x = tl.where(x > highest, highest, x)
        x = tl.where(x < lowest, lowest, x)
        shifted = x * 1.44269504 + 12582912.0  # 1.5 * 2^23 rounds to an integer in the low bits
        n = shifted.to(tl.int32, bitcast=True) - 0x4B400000
        whole = shifted - 12582912.0
        r = (x - whole * 0.693145752) - whole * 1.42860677e-6
        p = 1.0 / 5040 * r + 1.0 / 720
        p = p * r + 1.0 / 120
        p = p * r + 1.0 / 24
        p = p * r + 1.0 / 6
        p = p * r + 0.5
        p = p * r + 1.0
        p = p * r + 1.0
        return p * ((n + (k + 127)) << 23).to(tl.float32, bitcast=True)


@triton.jit
def split(x):
    """m, e of x = m 2^e with m in [sqrt(1/2), sqrt(2)); x must be positive and normal."""
    if x.dtype == tl.float64:
        bits = x.to(tl.int64, bitcast=True)
        wide = (bits - 0x3FE6A09E667F3BCD) >> 52
        return (bits - (wide << 52)).to(tl.float64, bitcast=True), wide.to(tl.int32)
    else:
        bits = x.to(tl.int32, bitcast=True)
        e = (bits - 0x3F3504F3) >> 23
        return (bits - (e << 23)).to(tl.float32, bitcast=True), e


@triton.jit
def log_scaled(x, k):
    """log(x 2^k) for a positive normal x and an integer k; NaN stays NaN."""
    if x.dtype == tl.float64:
        return tl.log(x) + k * tl.full((), 0.693147180559945309, tl.float64)
    else:
        m, e = split(x)
        t = tl.div_rn(m - 1.0, m + 1.0)
        t2 = t * t
        p = 2.0 / 9 * t2 + 2.0 / 7
        p = p * t2 + 2.0 / 5
        p = p * t2 + 2.0 / 3
        p = p * t2 + 2.0
        exponent = (e + k).to(tl.float32)
        log = exponent * 0.693145752 + (p * t + exponent * 1.42860677e-6)
        return tl.where(x == x, log, x)
