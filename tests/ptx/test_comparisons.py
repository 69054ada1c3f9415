"""Comparisons, choices, and conversions between types, against values computed in Python."""

import math
import operator

import numpy
import pytest

from tests.ptx.small_kernels import DTYPES, apply, load, run, store
from tests.ptx.values import FLOATS, INTEGERS, check, edges, pairs, width, wrap

ORDER = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("name", ORDER)
def test_integers(name, kind):
    check(f"setp.{name}.{kind}", "pred", [kind] * 2, ORDER[name], *pairs(edges(kind)))


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", ORDER)
def test_floats(name, kind):
    """NaN makes an ordered comparison false, an unordered one true."""

    def unordered(a, b):
        return math.isnan(a) or math.isnan(b) or ORDER[name](a, b)

    def ordered(a, b):
        return not (math.isnan(a) or math.isnan(b)) and ORDER[name](a, b)

    check(f"setp.{name}.{kind}", "pred", [kind] * 2, ordered, *pairs(FLOATS))
    check(f"setp.{name}u.{kind}", "pred", [kind] * 2, unordered, *pairs(FLOATS))
    check(f"setp.nan.{kind}", "pred", [kind] * 2, lambda a, b: math.isnan(a) or math.isnan(b), *pairs(FLOATS))
    check(f"setp.num.{kind}", "pred", [kind] * 2, lambda a, b: not (math.isnan(a) or math.isnan(b)), *pairs(FLOATS))


def half_bits(kind: str, values: list[float]) -> numpy.ndarray:
    """The values as 16 bits each; they are such that a bfloat16 has them exactly."""
    if kind == "f16":
        return numpy.array(values, "f2").view("u2")
    return (numpy.array(values, "f4").view("u4") >> 16).astype("u2")


HALVES = [0.0, -0.0, 1.0, -1.5, 0.125, 3.0, -96.0, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_halves(kind):
    first, second = pairs(HALVES)
    a, b = half_bits(kind, first), half_bits(kind, second)
    with_nan = numpy.isnan(first) | numpy.isnan(second)
    for name in ORDER:
        expected = ORDER[name](numpy.array(first), numpy.array(second))
        found = apply(f"setp.{name}.{kind}", "pred", ["b16", "b16"], a, b)
        numpy.testing.assert_array_equal(found, expected & ~with_nan)
    numpy.testing.assert_array_equal(apply(f"setp.num.{kind}", "pred", ["b16", "b16"], a, b), ~with_nan)
    numpy.testing.assert_array_equal(apply(f"abs.{kind}", "b16", ["b16"], a), a & 0x7FFF)
    both = numpy.isnan(first) & numpy.isnan(second)
    for name, function in (("max", numpy.fmax), ("min", numpy.fmin)):
        found = apply(f"{name}.{kind}", "b16", ["b16", "b16"], a, b)
        expected = half_bits(kind, function(first, second))
        zeros = (numpy.array(first) == 0) & (numpy.array(second) == 0)  # whose sign NumPy leaves open
        numpy.testing.assert_array_equal(found[~both & ~zeros], expected[~both & ~zeros])
        lower = (a | b if name == "min" else a & b)[zeros]
        numpy.testing.assert_array_equal(found[zeros], lower)


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_halves_side_by_side(kind):
    first, second = pairs(HALVES)
    a, b = (half_bits(kind, values).astype("u4") for values in (first, second))
    a, b = a | numpy.roll(a, 3) << 16, b | numpy.roll(b, 3) << 16
    low, high, joined_low, joined_high = (numpy.zeros(len(a), "u4") for _ in range(4))
    body = f"""{load(0, "b32")} {load(1, "b32")} setp.lt.{kind}x2 %p|%q, %v0, %v1;
    setp.lt.u32 %s, %t, 50; setp.lt.or.{kind}x2 %m|%n, %v0, %v1, %s;"""
    for array, predicate in enumerate(["%p", "%q", "%m", "%n"], 2):
        body += store(array, "pred", predicate)
    run(body, a, b, low, high, joined_low, joined_high, threads=len(a))
    expected = numpy.array(first) < numpy.array(second)
    others = numpy.arange(len(a)) < 50
    numpy.testing.assert_array_equal(low, expected)
    numpy.testing.assert_array_equal(high, numpy.roll(expected, 3))
    numpy.testing.assert_array_equal(joined_low, expected | others)
    numpy.testing.assert_array_equal(joined_high, numpy.roll(expected, 3) | others)


@pytest.mark.parametrize(("name", "join"), [("and", operator.and_), ("or", operator.or_), ("xor", operator.xor)])
def test_outcomes_joined_with_a_predicate(name, join):
    a, b = pairs([1, 2, 3])
    c = [k % 2 for k in range(len(a))]
    kinds = ["s32", "s32", "pred"]
    check(f"setp.lt.{name}.s32", "pred", kinds, lambda a, b, c: join(a < b, bool(c)), a, b, c)


def test_both_outcomes_and_a_negated_predicate():
    values = numpy.arange(32, dtype="i4")
    yes, no, other = (numpy.zeros(32, "u4") for _ in range(3))
    body = f"""{load(0, "s32")} setp.lt.s32 %p|%q, %v0, 10;
    setp.lt.s32 %s, %v0, 10; setp.gt.and.s32 %s, %v0, 3, !%s;"""
    run(body + store(1, "pred", "%p") + store(2, "pred", "%q") + store(3, "pred", "%s"), values, yes, no, other)
    assert yes.tolist() == (values < 10).tolist() and no.tolist() == (values >= 10).tolist()
    assert other.tolist() == (values >= 10).tolist()


@pytest.mark.parametrize("kind", ["b16", "b32", "b64", "f32", "f64"])
def test_selection_and_moves(kind):
    a, b = pairs(FLOATS if kind[0] == "f" else edges(kind))
    chosen = [k % 3 == 0 for k in range(len(a))]
    check(f"selp.{kind}", kind, [kind, kind, "pred"], lambda a, b, c: a if c else b, a, b, chosen)
    check(f"mov.{kind}", kind, [kind], lambda a: a, a)


def test_values_side_by_side():
    words = numpy.array([0x1122334455667788, 0xFFEEDDCCBBAA9988] * 16, "u8")
    swapped, quarters = numpy.zeros(32, "u8"), numpy.zeros(32, "u8")
    body = f"""{load(0, "b64")}
    mov.b64 {{%lo, %hi}}, %v0;
    mov.b64 %x, {{%hi, %lo}};
    {{ .reg .b32 rest; mov.b64 {{rest, %top}}, %v0; }}
    mov.b32 {{%h0, %h1}}, %top;
    mov.b64 %y, {{%h0, %h1, %h0, %h1}};"""
    run(body + store(1, "b64", "%x") + store(2, "b64", "%y"), words, swapped, quarters)
    low, high = words & 0xFFFFFFFF, words >> 32
    assert (swapped == (low << 32 | high)).all() and (quarters == (high << 32 | high)).all()


@pytest.mark.parametrize("to", ["s8", "u8", *INTEGERS])
@pytest.mark.parametrize("kind", ["s8", "u8", *INTEGERS])
def test_integers_convert(kind, to):
    check(f"cvt.{to}.{kind}", to, [kind], lambda a: wrap(a, to), edges(kind))


@pytest.mark.parametrize("opcode", ["cvt.s8.s64", "cvt.s32.s64", "cvt.rzi.s8.f64", "cvt.rni.s16.f64"])
def test_an_integer_fills_a_wider_register(opcode):
    kind = opcode.rpartition(".")[2]
    check(opcode, "s64", [kind], lambda a: a, [-100, -1, 0, 1, 100])


@pytest.mark.parametrize("to", ["f32", "f64"])
@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_become_floats(kind, to):
    values = [*edges(kind), wrap(2**53 + 1, kind), wrap(2**24 + 1, kind)]
    check(f"cvt.rn.{to}.{kind}", to, [kind], lambda a: DTYPES[kind].type(a).astype(DTYPES[to]), values)


ROUND = {"rzi": math.trunc, "rni": round, "rmi": math.floor, "rpi": math.ceil}


@pytest.mark.parametrize("mode", ROUND)
@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("to", ["s32", "u32", "s64", "u64"])
def test_floats_become_integers(to, kind, mode):
    """The nearest that there is; NaN is 0, or where 64 bits are about, the highest bit alone."""
    least, most = (0, 2 ** width(to) - 1) if to[0] == "u" else (-(2 ** (width(to) - 1)), 2 ** (width(to) - 1) - 1)

    def convert(a):
        if math.isnan(a):
            return wrap(2 ** (width(to) - 1), to) if "64" in kind + to else 0
        return (most if a > 0 else least) if math.isinf(a) else min(max(ROUND[mode](a), least), most)

    values = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.75, -0.75, 3e9, -3e9, 1e19, 1e25, -1e25, math.inf, -math.inf, math.nan]
    check(f"cvt.{mode}.{to}.{kind}", to, [kind], convert, [float(DTYPES[kind].type(v)) for v in values])


def test_floats_become_whole():
    for mode, function in [("rni", numpy.rint), ("rzi", numpy.trunc), ("rmi", numpy.floor), ("rpi", numpy.ceil)]:
        for kind in ("f32", "f64"):
            check(f"cvt.{mode}.{kind}.{kind}", kind, [kind], function, [*FLOATS, 0.5, -0.5, 1.5])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_floats_of_other_widths():
    check("cvt.f64.f32", "f64", ["f32"], lambda a: a, [float(numpy.float32(x)) for x in FLOATS])
    check("cvt.rn.f32.f64", "f32", ["f64"], numpy.float32, [*FLOATS, 1e39, 1 + 2.0**-24, 1e-46])
    bits = numpy.arange(0, 65536, 64, dtype="u2")[:1024]
    expected = bits.view("f2").astype("f4")
    numpy.testing.assert_array_equal(apply("cvt.f32.f16", "f32", ["b16"], bits), expected)
    numpy.testing.assert_array_equal(apply("cvt.f64.f16", "f64", ["b16"], bits), expected)
    expected = (bits.astype("u4") << 16).view("f4")
    numpy.testing.assert_array_equal(apply("cvt.f32.bf16", "f32", ["b16"], bits), expected)
