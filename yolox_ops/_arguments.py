"""Argument checks in one voice: subject, rule, fact. Values and shapes raise ValueError, dtypes TypeError. Nothing here
imports torch, so that yolox_ops.numpy needs none."""

import math
import reprlib
import sys
from collections.abc import Sequence
from typing import Any, Protocol

FORMATS = ("xyxy", "xywh", "cxcywh")
KINDS = ("iou", "giou", "diou", "ciou")
METHODS = ("hard", "linear", "gaussian", "mean_gaussian")

LARGEST_SIDE = 8192  # pixels of a model's input; a mistake, or ill will, beyond


class _Repr(reprlib.Repr):
    """Of a bad value, which may be of any length and depth."""

    def repr_instance(self, x: Any, level: int) -> str:
        # An array's own text may take for ever, whatever its size in memory.
        if isinstance(shape := getattr(x, "shape", None), tuple):
            return f"{type(x).__name__} of shape {list(shape)}"
        if isinstance(x, (dict, bytearray)):
            return f"{type(x).__name__} of length {len(x)}"
        return super().repr_instance(x, level)


_repr = _Repr()
_repr.maxstring = _repr.maxother = 200
short_repr = _repr.repr


class Shaped(Protocol):
    """A tensor or an array."""

    @property
    def shape(self) -> Any: ...


def check_shape(name: str, array: Shaped, words: str, shape: Sequence[int | None]) -> None:
    """`words` is the shape as the docstring writes it; None in `shape` fits any size."""
    sizes = array.shape
    if len(sizes) == len(shape):
        wrong = [i for i, wanted in enumerate(shape) if wanted is not None and sizes[i] != wanted]
        if not wrong:
            return
        names = words.strip("[]").split(", ")
        known = ", ".join(f"{names[i]} = {shape[i]}" for i in wrong if names[i].isalpha())
        words += f" with {known}" if known else ""
    raise ValueError(f"{name} must be {words}, got {list(sizes)}")


def _is_symbol(value: object) -> bool:
    """torch's own, which stands for a number where a program is traced; there is none before torch is imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, (torch.SymInt, torch.SymFloat))


def as_number(value: Any) -> Any:
    """A number of NumPy's as Python's, which compares and prints alike whatever the width; all else as it is."""
    numpy = sys.modules.get("numpy")  # which made the number, if it is one of NumPy's
    if numpy is None or isinstance(value, numpy.timedelta64):  # an integer to NumPy
        return value
    return (
        int(value) if isinstance(value, numpy.integer) else float(value) if isinstance(value, numpy.floating) else value
    )


def check_number(name: str, value: object) -> Any:
    """The number, Python's also where NumPy's was given, as all checks of numbers return it."""
    if type(value) is float:
        return value
    number = value if type(value) is int else as_number(value)
    if isinstance(number, bool) or not (isinstance(number, (int, float)) or _is_symbol(number)):
        raise TypeError(f"{name} must be a number, got {short_repr(value)}")
    if isinstance(number, int) and not -sys.float_info.max <= number <= sys.float_info.max:
        raise ValueError(f"{name} must fit into a float, got an integer of {number.bit_length()} bits")
    return number


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in choices:  # an array would be compared element by element
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {short_repr(value)}")


def _text(bound: float) -> str:
    """As short as says it exactly."""
    text = f"{bound:g}"
    return text if float(text) == bound else repr(bound)


def check_between(name: str, value: object, low: float, high: float) -> Any:
    number = check_number(name, value)
    if not low <= number <= high:
        raise ValueError(f"{name} must be in [{_text(low)}, {_text(high)}], got {number}")
    return number


def check_at_least(name: str, value: object, bound: float) -> Any:
    number = check_number(name, value)
    if not number >= bound:
        raise ValueError(f"{name} must be at least {bound}, got {number}")
    return number


def check_positive(name: str, value: object) -> Any:
    number = check_number(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {number}")
    return number


def check_count(name: str, value: object, least: int) -> Any:
    number = value if type(value) is int else as_number(value)
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{name} must be an integer, got {short_repr(value)}")
    check_at_least(name, number, least)
    if number >= 2**63:
        raise ValueError(f"{name} must be below 2^63, got {number}")
    return number


def check_flag(name: str, value: object) -> None:
    numpy = sys.modules.get("numpy")
    if not isinstance(value, bool) and not (numpy is not None and isinstance(value, numpy.bool_)):
        raise TypeError(f"{name} must be True or False, got {short_repr(value)}")


def check_corners(any_corners: object, fmt: str) -> None:
    check_flag("any_corners", any_corners)
    if any_corners and fmt != "xyxy":
        raise ValueError(f"any_corners must be False where boxes are not 'xyxy', got fmt {fmt!r}")


def check_nms_rule(
    method: str,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
    fmt: str,
) -> None:
    """What soft_nms asks of its options."""
    check_choice("method", method, METHODS)
    check_choice("fmt", fmt, FORMATS)
    check_positive("sigma", sigma)
    check_at_least("iou_threshold", iou_threshold, 0)
    check_between("score_threshold", score_threshold, -math.inf, math.inf)
