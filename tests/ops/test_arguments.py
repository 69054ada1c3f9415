"""Checks of numbers: what is refused, and in how many words."""

import math

import numpy as np
import pytest
import torch

from yolox_ops._arguments import check_at_least, check_between, check_count, check_number, check_positive


def between(name, value):
    check_between(name, value, 0, math.inf)


def at_least(name, value):
    check_at_least(name, value, 0)


def count(name, value):
    check_count(name, value, 0)


class Odd:
    shape = None

    def __sym_float__(self):
        return 0.5


each_check = pytest.mark.parametrize("check", [check_number, between, at_least, check_positive, count])


@each_check
@pytest.mark.parametrize(
    ("value", "fact"),
    [
        ("1", "'1'"),
        ("1" * 10**6, "'11"),
        (["1"] * 10**6, r"\['1', .*\.\.\.\]"),
        (range(9), r"range\(0, 9\)"),
        (True, "True"),
        (None, "None"),
        (1j, "1j"),
        (np.float32(1), r"float32 of shape \[\]"),
        (torch.ones(2, 3), r"Tensor of shape \[2, 3\]"),
        (torch.SymBool(None), "<SymBool instance at"),
        (Odd(), "<test_arguments.Odd object at"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_wrong_types_are_refused_in_a_short_message(check, value, fact):
    with pytest.raises(TypeError, match=f"^sigma must be (a number|an integer), got {fact}") as caught:
        check("sigma", value)
    assert len(str(caught.value)) < 300


@each_check
@pytest.mark.parametrize("sign", [1, -1])
def test_an_integer_too_large_for_a_float_is_refused_by_its_size(check, sign):
    """Python refuses to write so many digits."""
    with pytest.raises(ValueError, match="sigma must fit into a float, got an integer of 16610 bits"):
        check("sigma", sign * 10**5000)


def test_valid_numbers_are_accepted():
    for check in (check_number, between, at_least, check_positive):
        for value in (1, 0.5, np.float64(0.5), 2**1000):
            check("sigma", value)
    count("topk", 2**63 - 1)
