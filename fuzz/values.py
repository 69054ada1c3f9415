"""Tensors: their values, dtypes, and where they lie."""

import math
from collections.abc import Sequence
from random import Random
from typing import Any

import ml_dtypes
import numpy as np
import torch

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
OTHERS = (torch.bool, torch.complex64, torch.float8_e4m3fn)
# NaN, infinities, zeros, subnormals of float32 and float64, the ends of float16, float32 and float64, halves.
SPECIAL = (
    *(math.nan, math.inf, -math.inf, -0.0, 0.0, 1e-45, 5e-324, -1e-40, 1e-38, 65504.0, 65520.0, 3.4e38, -3.4e38),
    *(1.7e308, -1.7e308, 1e12, 1.1e12, -1e-9, 1e6, 16777217.0, 0.5, -1.0, 100.0, -100.0, 1e19, 1e30),
)
WILD_INTEGERS = (-1, 127, -128, 255, 2**31 - 1, -(2**31), 2**31, 2**62, 2**63 - 1, -(2**63), 7)

# On lattices where float32 is exact, with many ties.
_POOLS: dict[str, Sequence[float]] = {
    "logit": [k / 4 for k in range(-24, 25)],
    "score": [k / 16 for k in range(17)],
    "cost": [*(k / 4 for k in range(-8, 60)), math.inf, math.inf, 1e6, 1e6 + 0.25],
    "iou": [*(k / 16 for k in range(17)), 0.0, 0.0, 0.0],
    "mass": [k / 4 for k in range(9)],
    "grad": [k / 4 for k in range(-8, 9)],
    "point": [k * 4 + 2 for k in range(-1, 9)],
    "stride": [8, 8, 4, 16],
}
_PLACES = [k / 2 for k in range(-4, 64)]
_SIZES = [0.25, 1, 2, 4, 8, 8, 12, 16, 0, -2]


def boxes(rnd: Random, count: int, corners: bool) -> list[float]:
    few = []
    for _ in range(rnd.choice((2, 4, 16))):
        x, y, w, h = rnd.choice(_PLACES), rnd.choice(_PLACES), rnd.choice(_SIZES), rnd.choice(_SIZES)
        few.append((x, y, x + w, y + h) if corners else (x, y, w, h))
    return [number for box in rnd.choices(few, k=count) for number in box]


def floats(rnd: Random, count: int, values: str) -> list[float]:
    return rnd.choices(rnd.choices(_POOLS[values], k=rnd.choice((1, 4, 16))), k=count)


def spoil(rnd: Random, numbers: list[Any], special: Sequence[Any]) -> None:
    """Puts special values in a few places, or in all."""
    if numbers and rnd.random() < 0.1:
        numbers[:] = [rnd.choice(special)] * len(numbers)
    for _ in range(rnd.choice((1, 1, 2, 5)) if numbers else 0):
        numbers[rnd.randrange(len(numbers))] = rnd.choice(special)


def dense(numbers: list[Any], shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    wide = torch.float64 if dtype.is_floating_point else torch.int64
    return torch.tensor(numbers, dtype=wide).to(dtype).reshape(tuple(shape))


def laid_out(rnd: Random, tensor: torch.Tensor) -> torch.Tensor:
    """The same values, but of dimensions that are expanded, in storage of any order, with steps and an offset. The
    storage ends where the tensor does, so that AddressSanitizer sees a read past it."""
    strides, size = [0] * tensor.dim(), 1
    for axis in rnd.sample(range(tensor.dim()), tensor.dim()):
        if rnd.random() < 0.12:
            continue  # expanded
        strides[axis] = size * rnd.choice((1, 1, 2, 3))
        size += max(tensor.shape[axis] - 1, 0) * strides[axis]
    offset = rnd.choice((0, 0, 1, 7))
    base = torch.full((offset + size if tensor.numel() else offset,), 77, dtype=torch.float64).to(tensor.dtype)
    view = base.as_strided(tensor.shape, strides, offset)
    # An expanded dimension holds the values of its first place.
    first = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in strides)
    view[first].copy_(tensor[first])
    return view


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's memory as NumPy sees it; bfloat16 is ml_dtypes'."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def array_laid_out(rnd: Random, array: np.ndarray) -> np.ndarray:
    """What NumPy has and torch has not: negative strides, odd addresses, the other byte order, read-only memory."""
    what = rnd.randrange(5)
    if what == 0 and array.ndim:
        axis = rnd.randrange(array.ndim)
        return np.flip(np.flip(array, axis).copy(), axis)
    if what == 1:
        raw = torch.zeros(array.nbytes + 1, dtype=torch.uint8).numpy()[1:]
        raw[:] = np.frombuffer(array.tobytes(), np.uint8)
        return raw.view(array.dtype).reshape(array.shape)
    if what == 2 and array.dtype.name != "bfloat16":
        return array.astype(array.dtype.newbyteorder())
    if what == 3:
        return np.asfortranarray(array)
    array = array.copy()
    array.flags.writeable = False
    return array
