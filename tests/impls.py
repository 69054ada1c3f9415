"""The implementations that exist on this machine, and the checks that every op undergoes."""

from collections.abc import Callable

import pytest
import torch
from torch.utils._pytree import tree_map_only

import yolox_ops

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def implementations(name: str) -> list:
    """Pytest parameters: functions with the public signature of yolox_ops.<name> that take and return CPU tensors."""
    public = getattr(yolox_ops, name)
    found = [pytest.param(public, id="cpp")]
    kernel = f"yolox_ops::{name.removeprefix('batched_')}"
    if torch.cuda.is_available() and torch._C._dispatch_has_kernel_for_dispatch_key(kernel, "CUDA"):

        def on_cuda(*args, **kwargs):
            args, kwargs = tree_map_only(torch.Tensor, lambda t: t.cuda(), (args, kwargs))
            return tree_map_only(torch.Tensor, lambda t: t.cpu(), public(*args, **kwargs))

        found.append(pytest.param(on_cuda, id="cuda", marks=pytest.mark.cuda))
    return found


def check_registration(op: str, *args) -> None:
    """opcheck on yolox_ops::<op>: schema, fake, gradient and AOT dispatch agree with the kernel."""
    torch.library.opcheck(getattr(torch.ops.yolox_ops, op).default, args)


def check_compiles(function: Callable, *args, **kwargs) -> None:
    """The public function traces whole under torch.compile and gives the bits of eager mode."""
    expected = function(*args, **kwargs)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*args, **kwargs), expected, rtol=0, atol=0, equal_nan=True)


def strided(tensor: torch.Tensor) -> torch.Tensor:
    """The same values behind strides that are not those of a contiguous tensor."""
    wide = torch.stack([tensor, torch.full_like(tensor, 77)], dim=-1)
    return wide[..., 0]
