"""How every kernel is launched."""

from typing import Any

import torch
import triton
from torch import Tensor

# Kernels run in Triton's interpreter, whose time goes by programs and not by their size.
INTERPRETED: bool = triton.knobs.runtime.interpret


def launch(kernel: Any, programs: int, *args: Any, **constants: Any) -> None:
    """Runs `programs` programs of a kernel on the device of its first argument, a tensor. No multiply is fused with an
    add: the answer is that of the C++ kernels."""
    first: Tensor = args[0]
    if programs > 0:
        with torch.cuda.device_of(first):
            kernel[(programs,)](*args, **constants, enable_fp_fusion=False)


def blocks(size: int, block: int) -> int:
    """How many blocks hold `size` elements."""
    return -(-size // block)
