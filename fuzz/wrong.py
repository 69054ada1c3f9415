"""What makes a call one that must be refused, most of the time."""

import math
from random import Random
from typing import Any

import numpy as np
import torch

from fuzz import values
from fuzz.call import Call, is_plain
from fuzz.contracts import MOST

NUMBERS = (
    *(math.nan, math.inf, -math.inf, -1, 0, -0.0, 1, 2, 0.5, 1.5, 1e308, 5e-324, -1e-9, 1001, 1e13),
    *(2**31, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400),
    *(True, None, "x", b"iou", np.float32(0.5), np.float64(0.5), np.int64(1), [1], np.ones(2)),
)
# Sizes of tensors that take no memory, as their strides are 0.
HUGE = (2**31, 2**33, 2**40)


def spoil(call: Call, rnd: Random) -> None:
    names, call.tame = list(call.arguments), False
    if rnd.random() < 0.35:
        name = rnd.choice(list(call.options))
        number = rnd.choice(NUMBERS)
        # 2^62 iterations are allowed, and would run.
        endless = name == "iterations" and isinstance(number, int) and number > 1001
        call.options[name] = 1001 if endless and number <= MOST else number
        return
    name = rnd.choice(names)
    value = call.arguments[name]
    if not is_plain(value):
        return
    call.bytes.pop(name, None)
    change = rnd.choice((_other_shape, _other_shape, _other_dtype, _odd))
    call.arguments[name] = change(value, call, rnd)


def _other_shape(value: Any, call: Call, rnd: Random) -> Any:
    shape = list(value.shape)
    what = rnd.randrange(4)
    if what == 0 or not shape:
        shape.insert(rnd.randint(0, len(shape)), rnd.choice((0, 1, 2)))
    elif what == 1:
        del shape[rnd.randrange(len(shape))]
    else:
        axis = rnd.randrange(len(shape))
        shape[axis] = rnd.choice((0, 1, shape[axis] + 1, max(0, shape[axis] - 1), 4))
    if isinstance(value, np.ndarray):
        return np.zeros(shape, value.dtype)
    return torch.zeros(shape, dtype=value.dtype)


def _other_dtype(value: Any, call: Call, rnd: Random) -> Any:
    if isinstance(value, np.ndarray):
        names = (
            "bool",
            "complex64",
            "uint64",
            "uint32",
            "int64",
            "int8",
            "float16",
            "longdouble",
            "object",
            "U3",
            "M8[s]",
        )
        return np.zeros(value.shape, rnd.choice(names))
    dtype = rnd.choice((*values.OTHERS, *values.FLOATS, *values.INTEGERS))
    return torch.zeros(value.shape, dtype=dtype)


def _odd(value: Any, call: Call, rnd: Random) -> Any:
    """What is no plain tensor."""
    if isinstance(value, np.ndarray):
        others = (
            None,
            3,
            "x",
            value.tolist(),
            torch.zeros(2),
            value[()],
            np.ma.masked_array(value),
            memoryview(b"abcd"),
        )
        return rnd.choice(others)
    if value.dtype not in values.FLOATS:
        return rnd.choice((None, 3, "x", value.to("meta"), value.tolist()))
    what = rnd.randrange(7)
    if what == 0:
        return value.clone().requires_grad_()
    if what == 1:
        return torch._neg_view(value)
    if what == 2:
        return torch.nn.Parameter(value.clone())
    if what == 3:
        return value.to("meta")
    if what == 4:
        return value.float().to_sparse() if value.dim() else value
    return rnd.choice((None, 3, "x", value.detach().float().numpy(), value.tolist()))


def expand(call: Call, rnd: Random) -> None:
    """One size becomes huge in all tensors, without memory behind it."""
    call.tame = False
    tensors = {name: t for name, t in call.arguments.items() if isinstance(t, torch.Tensor) and is_plain(t)}
    letter, size = rnd.choice("BMNGC"), rnd.choice(HUGE)
    for name, tensor in tensors.items():
        sizes = [s for s in call.op.arguments[name].sizes if s != "..."]
        if letter not in sizes or tensor.dim() < len(sizes):
            continue
        axis = tensor.dim() - len(sizes) + sizes.index(letter)
        if tensor.numel() and not tensor.requires_grad:
            call.arguments[name] = tensor.narrow(axis, 0, 1).expand(
                [size if a == axis else n for a, n in enumerate(tensor.shape)]
            )
