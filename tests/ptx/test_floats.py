"""Floats, against values computed in Python."""

import math
from fractions import Fraction

import numpy
import pytest

from tests.ptx.small_kernels import DTYPES, apply
from tests.ptx.values import FLOATS, check, pairs

each_float = pytest.mark.parametrize("kind", ["f32", "f64"])


@each_float
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_floats(kind):
    """To nearest, one rounding an operation."""
    T = DTYPES[kind].type
    a, b = pairs(FLOATS)
    functions = {
        "add.rn": lambda a, b: T(a) + T(b),
        "sub.rn": lambda a, b: T(a) - T(b),
        "mul.rn": lambda a, b: T(a) * T(b),
        "div.rn": lambda a, b: T(a) / T(b),
    }
    for name, function in functions.items():
        check(f"{name}.{kind}", kind, [kind] * 2, function, a, b)
    check(f"sqrt.rn.{kind}", kind, [kind], lambda a: numpy.sqrt(T(a)), FLOATS)
    check(f"rcp.rn.{kind}", kind, [kind], lambda a: T(1) / T(a), FLOATS)
    check(f"neg.{kind}", kind, [kind], lambda a: -a, FLOATS)
    check(f"abs.{kind}", kind, [kind], abs, FLOATS)
    check(f"copysign.{kind}", kind, [kind] * 2, lambda a, b: math.copysign(b, a), a, b)


def test_a_fused_product_rounds_once():
    a, b, c = 1 + 2.0**-30, 1 - 2.0**-30, -1.0
    assert a * b + c == 0
    check(
        "fma.rn.f64",
        "f64",
        ["f64"] * 3,
        lambda *v: float(Fraction(v[0]) * Fraction(v[1]) + Fraction(v[2])),
        [a],
        [b],
        [c],
    )
    a, b = 1 + 2.0**-15, 1 - 2.0**-15
    check("fma.rn.f32", "f32", ["f32"] * 3, lambda a, b, c: a * b + c, [a], [b], [c])


def choose(sign: int):
    """The least for 1, the greatest for -1: a NaN loses; -0 is below +0."""

    def function(a, b):
        if math.isnan(a) or math.isnan(b):
            return b if math.isnan(a) else a
        return min((a, b), key=lambda x: (sign * x, sign * math.copysign(1, x)))

    return function


@each_float
@pytest.mark.parametrize(("name", "sign"), [("min", 1), ("max", -1)])
def test_least_and_greatest(name, sign, kind):
    check(f"{name}.{kind}", kind, [kind] * 2, choose(sign), *pairs(FLOATS))


@pytest.mark.parametrize(("name", "sign"), [("min", 1), ("max", -1)])
def test_least_and_greatest_that_keep_a_nan(name, sign):
    def function(a, b):
        return math.nan if math.isnan(a) or math.isnan(b) else choose(sign)(a, b)

    check(f"{name}.NaN.f32", "f32", ["f32"] * 2, function, *pairs(FLOATS))


@pytest.mark.parametrize(("kind", "bits"), [("f16", 16), ("bf16", 16), ("f32", 32), ("NaN.f32", 32)])
@pytest.mark.parametrize("name", ["min", "max"])
def test_two_nans_give_the_canonical_one(name, kind, bits):
    """Whatever their signs and their lower bits: all bits but the sign."""
    negative = 2**bits - 3
    found = apply(f"{name}.{kind}", f"b{bits}", [f"b{bits}"] * 2, [negative], [negative])
    assert found[0] == 2 ** (bits - 1) - 1


def test_approximations():
    """Within what the manual promises, which is more than the host's error."""
    values = [0.3, 1.0, 2.5, 17.0, 1e-3]
    for opcode, kind, function in [
        ("ex2.approx.f32", "f32", lambda x: 2.0**x),
        ("lg2.approx.f32", "f32", math.log2),
        ("ex2.approx.ftz.f32", "f32", lambda x: 2.0**x),
        ("lg2.approx.ftz.f32", "f32", math.log2),
        ("rsqrt.approx.f32", "f32", lambda x: x**-0.5),
        ("rcp.approx.ftz.f32", "f32", lambda x: 1 / x),
        ("rcp.approx.ftz.f64", "f64", lambda x: 1 / x),
    ]:
        expected = [function(x) for x in values]
        numpy.testing.assert_allclose(apply(opcode, kind, [kind], values), expected, rtol=1e-6, atol=1e-6)
    for opcode in ("div.full.f32", "div.approx.f32"):
        found = apply(opcode, "f32", ["f32"] * 2, values, values[::-1])
        numpy.testing.assert_allclose(found, numpy.divide(values, values[::-1]), rtol=1e-6)
    subnormal = numpy.array([1e-40, -1e-40], "f4")
    assert apply("rcp.approx.ftz.f32", "f32", ["f32"], subnormal).tolist() == [math.inf, -math.inf]
    assert apply("abs.ftz.f32", "f32", ["f32"], subnormal).tolist() == [0, 0]
