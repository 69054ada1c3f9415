"""Argument checks in one voice: subject, rule, fact. Values and shapes raise ValueError, dtypes TypeError."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_tensor(name: str, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")


def check_float(name: str, tensor: Tensor) -> None:
    check_tensor(name, tensor)
    if tensor.dtype not in _FLOATS:
        raise TypeError(f"{name} must be float32, float64, float16 or bfloat16, got {tensor.dtype}")


def check_integer(name: str, tensor: Tensor) -> None:
    check_tensor(name, tensor)
    if tensor.dtype not in _INTEGERS:
        raise TypeError(f"{name} must be an integer tensor, got {tensor.dtype}")


def check_shape(name: str, tensor: Tensor, words: str, shape: Sequence[int | None]) -> None:
    """`words` is the shape as the docstring writes it; None in `shape` fits any size."""
    if tensor.dim() == len(shape):
        names = words.strip("[]").split(", ")
        wrong = [(n, w) for n, s, w in zip(names, tensor.shape, shape, strict=True) if w is not None and s != w]
        if not wrong:
            return
        known = ", ".join(f"{letter} = {size}" for letter, size in wrong if letter.isalpha())
        words += f" with {known}" if known else ""
    raise ValueError(f"{name} must be {words}, got {list(tensor.shape)}")


def check_number(name: str, value: object) -> None:
    if not isinstance(value, (int, float, torch.SymInt, torch.SymFloat)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")


def check_same_device(first_name: str, first: Tensor, **others: Tensor | None) -> None:
    for name, tensor in others.items():
        if tensor is not None and tensor.device != first.device:
            raise ValueError(f"{name} must be on the device of {first_name}, got {tensor.device} and {first.device}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_between(name: str, value: float, low: float, high: float) -> None:
    check_number(name, value)
    if not low <= value <= high:
        raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {value}")


def check_at_least(name: str, value: float, bound: float) -> None:
    check_number(name, value)
    if not value >= bound:
        raise ValueError(f"{name} must be at least {bound}, got {value}")


def check_positive(name: str, value: float) -> None:
    check_number(name, value)
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")


def check_count(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    check_at_least(name, value, least)
    if value >= 2**63:
        raise ValueError(f"{name} must be below 2^63, got {value}")


def check_eval(name: str, model: nn.Module) -> None:
    if model.training:
        raise ValueError(f"{name} must be in eval mode, got training mode")


FORMATS = ("xyxy", "xywh", "cxcywh")
KINDS = ("iou", "giou", "diou", "ciou")


def wide_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype that arithmetic runs in: float64 if an input is float64, else float32."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
