"""The implementations that exist on this machine, and the checks that every op undergoes."""

import functools
import importlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

import yolox_ops

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
# Triton decides at import whether it compiles or interprets, so interpreted kernels have a test process of their own.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def triton_launcher(op: str) -> Callable:
    """The function that serves yolox_ops::<op> where Triton does, for a call by name."""
    return getattr(importlib.import_module(f"yolox_ops.triton.{op.removesuffix('_backward')}"), op)


@functools.cache
def _load_emulated() -> None:
    """The CUDA kernels, compiled against tests/emulator, as ops of yolox_ops_emulated for CPU tensors."""
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("yolox_ops::"):
            schema = str(getattr(torch.ops.yolox_ops, name.removeprefix("yolox_ops::")).default._schema)
            torch.library.define(f"yolox_ops_emulated::{schema[11 : schema.index('(')]}", schema[schema.index("(") :])
    torch.ops.load_library(Path(__file__).parent.parent / "build/emulated/_C_emulated.so")


def emulated_kernel(op: str) -> Callable:
    """The CUDA kernel of yolox_ops::<op>, run on the CPU."""
    _load_emulated()
    return getattr(torch.ops.yolox_ops_emulated, op)


class ServedBy(TorchDispatchMode):
    """While active, ops of yolox_ops on CPU tensors go to another implementation: find(op) has the op's signature."""

    def __init__(self, find: Callable[[str], Callable]):
        super().__init__()
        self.find = find

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "yolox_ops":
            func = self.find(func._schema.name.removeprefix("yolox_ops::"))
        with numpy.errstate(all="ignore"):  # Triton's interpreter computes with numpy, which warns of 0 / 0
            return func(*args, **(kwargs or {}))


def cuda_kernel(op: str) -> Callable:
    """yolox_ops::<op> on the GPU, for CPU tensors."""

    def run(*args):
        kernel = getattr(torch.ops.yolox_ops, op)
        args = tree_map_only(torch.Tensor, lambda t: t.cuda(), args)
        return tree_map_only(torch.Tensor, lambda t: t.cpu(), kernel(*args))

    return run


def device_kernels() -> list:
    """Pytest parameters: functions that give the kernel of an op as GPUs have it, for CPU tensors."""
    if INTERPRETED:
        return [pytest.param(triton_launcher, id="triton")]
    found = [pytest.param(emulated_kernel, id="emulated")]
    if torch.cuda.is_available():
        found.append(pytest.param(cuda_kernel, id="cuda", marks=pytest.mark.cuda))
    return found


SERVERS = {"emulated": emulated_kernel, "triton": triton_launcher}


def implementations(name: str) -> list:
    """Pytest parameters: functions with the public signature of yolox_ops.<name> that take and return CPU tensors.
    A test whose parameter is marked served_by("...") runs as a whole under that server, gradients included."""
    public = getattr(yolox_ops, name)
    if INTERPRETED:
        return [pytest.param(public, id="triton", marks=pytest.mark.served_by("triton"))]
    found = [
        pytest.param(public, id="cpp"),
        pytest.param(public, id="emulated", marks=pytest.mark.served_by("emulated")),
    ]
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
