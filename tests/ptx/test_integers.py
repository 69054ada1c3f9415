"""Integers, bits and predicates, against values computed in Python."""

import itertools
import struct

import numpy
import pytest

from tests.ptx.small_kernels import run, store
from tests.ptx.values import INTEGERS, check, edges, pairs, width, wrap

each_integer = pytest.mark.parametrize("kind", INTEGERS)


def quotient(a: int, b: int) -> int:
    return -1 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


INTEGER_FUNCTIONS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul.lo": lambda a, b: a * b,
    "div": quotient,
    "rem": lambda a, b: a if b == 0 else a - b * quotient(a, b),
    "min": min,
    "max": max,
}


@each_integer
@pytest.mark.parametrize("name", INTEGER_FUNCTIONS)
def test_integers(name, kind):
    function = INTEGER_FUNCTIONS[name]
    check(f"{name}.{kind}", kind, [kind] * 2, lambda a, b: wrap(function(a, b), kind), *pairs(edges(kind)))


@pytest.mark.parametrize("kind", ["s16", "s32", "s64"])
def test_signs_of_integers(kind):
    check(f"neg.{kind}", kind, [kind], lambda a: wrap(-a, kind), edges(kind))
    check(f"abs.{kind}", kind, [kind], lambda a: wrap(abs(a), kind), edges(kind))


@pytest.mark.parametrize("kind", ["s16", "u16", "s32", "u32"])
def test_products_of_twice_the_width(kind):
    wide = f"{kind[0]}{2 * width(kind)}"
    a, b = pairs(edges(kind))
    c = [wrap(value * 0x1234567, wide) for value in range(len(a))]
    check(f"mul.wide.{kind}", wide, [kind] * 2, lambda a, b: a * b, a, b)
    check(f"mad.wide.{kind}", wide, [kind, kind, wide], lambda a, b, c: wrap(a * b + c, wide), a, b, c)


@pytest.mark.parametrize("kind", ["s32", "u32", "s64", "u64"])
def test_high_halves_of_products(kind):
    check(f"mul.hi.{kind}", kind, [kind] * 2, lambda a, b: a * b >> width(kind), *pairs(edges(kind)))
    a, b = pairs(edges(kind))
    check(f"mad.lo.{kind}", kind, [kind] * 3, lambda a, b, c: wrap(a * b + c, kind), a, b, b[::-1])


@pytest.mark.parametrize("kind", ["b16", "b32", "b64"])
def test_logic(kind):
    a, b = pairs(edges(kind))
    check(f"and.{kind}", kind, [kind] * 2, lambda a, b: a & b, a, b)
    check(f"or.{kind}", kind, [kind] * 2, lambda a, b: a | b, a, b)
    check(f"xor.{kind}", kind, [kind] * 2, lambda a, b: a ^ b, a, b)
    check(f"not.{kind}", kind, [kind], lambda a: wrap(~a, kind), a)


@pytest.mark.parametrize("name", ["and", "or", "xor"])
def test_logic_of_predicates(name):
    functions = {"and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b}
    check(f"{name}.pred", "pred", ["pred"] * 2, functions[name], *pairs([0, 1]))
    check("not.pred", "pred", ["pred"], lambda a: 1 - a, [0, 1])


@pytest.mark.parametrize("true", [1, -1])
def test_constant_predicates(true):
    """True is any number but 0."""
    found = [numpy.full(32, 7, "u4") for _ in range(5)]
    body = f"""mov.pred %p, {true}; mov.pred %q, 0; not.pred %n, %p; or.pred %r, %n, %q;
    and.pred %s, %p, {true}; xor.pred %u, %p, {true}; or.pred %w, %q, {true};"""
    for k, name in enumerate(["%p", "%r", "%s", "%u", "%w"]):
        body += f"mov.u32 %x, 0; @{name} mov.u32 %x, 1;" + store(k, "u32", "%x")
    run(body, *found)
    assert [set(values.tolist()) for values in found] == [{1}, {0}, {1}, {0}, {1}]


@pytest.mark.parametrize("kind", ["b16", "b32", "b64", "s16", "s32", "s64"])
def test_shifts(kind):
    """By no more than the width, and by more."""
    a, by = pairs(edges(kind), [0, 1, 5, width(kind) - 1, width(kind), 200])
    check(f"shr.{kind}", kind, [kind, "u32"], lambda a, by: a >> by, a, by)
    if kind[0] == "b":
        check(f"shl.{kind}", kind, [kind, "u32"], lambda a, by: wrap(a << by, kind), a, by)


@pytest.mark.parametrize("mode", ["wrap", "clamp"])
def test_funnel_shifts(mode):
    low, by = pairs(edges("b32"), [0, 1, 31, 32, 40])
    high = low[::-1]

    def count(by):
        return min(by, 32) if mode == "clamp" else by % 32

    kinds = ["b32", "b32", "u32"]
    check(f"shf.r.{mode}.b32", "b32", kinds, lambda a, b, by: ((b << 32 | a) >> count(by)) % 2**32, low, high, by)
    check(f"shf.l.{mode}.b32", "b32", kinds, lambda a, b, by: ((b << 32 | a) << count(by) >> 32) % 2**32, low, high, by)


def test_counts_of_bits():
    for kind, bits in [("b32", 32), ("b64", 64)]:
        check(f"popc.{kind}", "u32", [kind], lambda a: a.bit_count(), edges(kind))
        check(f"clz.{kind}", "u32", [kind], lambda a, bits=bits: bits - a.bit_length(), edges(kind))
    check("brev.b32", "b32", ["b32"], lambda a: int(f"{a:032b}"[::-1], 2), edges("b32"))
    check("bfind.u32", "u32", ["u32"], lambda a: (a.bit_length() - 1) % 2**32, edges("u32"))
    check("bfind.shiftamt.u32", "u32", ["u32"], lambda a: 32 - a.bit_length() if a else 2**32 - 1, edges("u32"))


@pytest.mark.parametrize("kind", ["u32", "s32", "u64", "s64"])
def test_bit_fields(kind):
    """Those that reach beyond the register end with it, a signed one with its highest bit."""
    bits = width(kind)
    places = list(itertools.product([0, 3, bits - 1, bits, 70], [0, 1, 8, bits, 90]))
    a, place = pairs(edges(kind), places)
    start, length = ([p[k] for p in place] for k in (0, 1))

    def extract(a, start, length):
        sign = a >> (bits - 1) & 1 if kind[0] == "s" else 0
        extended = a % 2**bits | (2**256 - 2**bits if sign else 0)
        return wrap_field(extended >> start, length)

    def wrap_field(shifted, length):
        field = shifted & (2**length - 1)
        return wrap(field - (field >> (length - 1) << length) if kind[0] == "s" and length else field, kind)

    check(f"bfe.{kind}", kind, [kind, kind, kind], extract, a, start, length)
    if kind[0] == "u":

        def insert(a, b, start, length):
            mask = (2**length - 1) << start
            return (b & ~mask | a << start & mask) % 2**bits

        kinds = [f"b{bits}"] * 2 + ["u32"] * 2
        check(f"bfi.b{bits}", f"b{bits}", kinds, insert, a, a[::-1], start, length)


def test_bytes_chosen_and_functions_of_three_bits():
    a, b = pairs(edges("b32"))
    choices = [0x3210, 0x7654, 0x0F5A, 0x8421] * (len(a) // 4)

    def permute(a, b, choices):
        source = struct.pack("<II", a, b)
        chosen = [(source[choices >> 4 * k & 7], choices >> 4 * k & 8) for k in range(4)]
        return int.from_bytes([(255 if byte & 128 else 0) if sign else byte for byte, sign in chosen], "little")

    check("prmt.b32", "b32", ["b32"] * 3, permute, a, b, choices)
    tables = [0x80, 0xFE, 0x96, 0xCA] * (len(a) // 4)

    def logic(a, b, c, table):
        return sum((table >> (4 * (a >> k & 1) + 2 * (b >> k & 1) + (c >> k & 1)) & 1) << k for k in range(32))

    check("lop3.b32", "b32", ["b32"] * 4, logic, a, b, a[::-1], tables)
