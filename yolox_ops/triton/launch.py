"""How every kernel is launched."""

import ctypes
import math
from typing import Any

import torch
from torch import Tensor


def launch(kernel: Any, programs: int, *args: Any, **constants: Any) -> None:
    """Runs `programs` programs of a kernel on the device of its first argument, a tensor. No multiply is fused with an
    add: the answer is that of the C++ kernels."""
    first: Tensor = args[0]
    if programs > 0:
        with torch.cuda.device_of(first):
            kernel[(programs,)](*args, **constants, enable_fp_fusion=False)


def round_to(value: float, dtype: torch.dtype) -> float:
    """The number of the dtype, float32 or float64, that is nearest."""
    return value if dtype == torch.float64 else ctypes.c_float(value).value


def narrow(value: float, dtype: torch.dtype) -> float:
    """An option in the arithmetic's dtype. One that is not 0 does not become 0, and a finite one stays finite."""
    nearest = round_to(value, dtype)
    if nearest == 0 and value != 0:
        return math.copysign(2.0**-149, value)
    if math.isinf(nearest) and math.isfinite(value):
        return math.copysign(torch.finfo(dtype).max, value)
    return nearest


def bits_of(value: float, dtype: torch.dtype) -> int:
    """The bits of an option in the arithmetic's dtype, for numeric.from_bits."""
    if dtype == torch.float64:
        return ctypes.c_int64.from_buffer(ctypes.c_double(value)).value
    return ctypes.c_int32.from_buffer(ctypes.c_float(value)).value


def blocks(size: int, block: int) -> int:
    """How many blocks hold `size` elements."""
    return -(-size // block)
