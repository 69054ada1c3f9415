"""Values that an instruction is tried on, and the comparison with what Python computes of them."""

import itertools
import math
from collections.abc import Callable

import numpy

from tests.ptx.small_kernels import DTYPES, apply

INTEGERS = ["s16", "u16", "s32", "u32", "s64", "u64"]
FLOATS = [0.0, -0.0, 1.0, -1.5, 3.1, 1e-3, -7e8, math.inf, -math.inf, math.nan, 2.5, 0.1]


def width(kind: str) -> int:
    return int(kind[1:])


def wrap(value: int, kind: str) -> int:
    """The value as a register of this type has it."""
    value &= 2 ** width(kind) - 1
    return value - 2 ** width(kind) if kind[0] == "s" and value >> (width(kind) - 1) else value


def edges(kind: str) -> list[int]:
    top = 2 ** (width(kind) - 1)
    return [wrap(value, kind) for value in (0, 1, 2, 3, 7, -1, -2, -7, top - 1, top, top + 1, 0x5A5A5A5A5A5A5A5A)]


def pairs(values: list, others: list | None = None) -> tuple[list, list]:
    a, b = zip(*itertools.product(values, others or values), strict=True)
    return list(a), list(b)


def check(opcode: str, result: str, kinds: list[str], function: Callable, *sources: list) -> None:
    """An instruction gives what the function gives, for the values of each lane; zeros with their signs."""
    found = apply(opcode, result, kinds, *sources)
    expected = numpy.array([function(*values) for values in zip(*sources, strict=True)], DTYPES[result])
    numpy.testing.assert_array_equal(found, expected)
    if result[0] == "f":
        zeros = expected == 0
        assert (numpy.signbit(found[zeros]) == numpy.signbit(expected[zeros])).all()
