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
# In such a process (`make ptx`) devices are those of tests/ptx: kernels as compiled for a GPU, on the simulator. The
# value is the seed by which it orders blocks and warps.
SIMULATED = "YOLOX_OPS_PTX" in os.environ
# Where kernels run slowly, interpreted or under sanitizers, some tests take smaller sizes.
SLOW = INTERPRETED or SIMULATED or "YOLOX_OPS_UNDER_TEST" in os.environ


def triton_launcher(op: str) -> Callable:
    """The function that serves yolox_ops::<op> where Triton does, for a call by name."""
    launcher = getattr(importlib.import_module(f"yolox_ops.triton.{op.removesuffix('_backward')}"), op)
    # The interpreter computes with numpy, which warns of 0 / 0.
    return numpy.errstate(all="ignore")(launcher)


@functools.cache
def _load_emulated() -> None:
    """The CUDA kernels, compiled against tests/emulator, as ops of yolox_ops_emulated for CPU tensors."""
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("yolox_ops::"):
            schema = str(getattr(torch.ops.yolox_ops, name.removeprefix("yolox_ops::")).default._schema)
            torch.library.define(f"yolox_ops_emulated::{schema[11 : schema.index('(')]}", schema[schema.index("(") :])
    build = os.environ.get("YOLOX_OPS_UNDER_TEST", "build/emulated")
    torch.ops.load_library(Path(__file__).parents[2] / build / "_C_emulated.so")


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
        return func(*args, **(kwargs or {}))


def cpp_kernel(op: str) -> Callable:
    """yolox_ops::<op> as the dispatcher has it."""
    return getattr(torch.ops.yolox_ops, op)


def by_cpp(op: str, *args):
    return cpp_kernel(op)(*args)


def check_equals_cpp(find: Callable[[str], Callable], op: str, *args) -> None:
    """The kernel that find(op) gives has the bits of the one that serves these tensors."""
    torch.testing.assert_close(find(op)(*args), by_cpp(op, *args), rtol=0, atol=0, equal_nan=True)


def on_gpu(find: Callable[[str], Callable]) -> Callable[[str], Callable]:
    """The same kernels on the GPU, for CPU tensors."""

    def find_there(op: str) -> Callable:
        def run(*args):
            args = tree_map_only(torch.Tensor, lambda t: t.cuda(), args)
            return tree_map_only(torch.Tensor, lambda t: t.cpu(), find(op)(*args))

        return run

    return find_there


def device_kernels() -> list:
    """Pytest parameters: functions that give the kernel of an op as GPUs have it, for CPU tensors."""
    if INTERPRETED:
        return [pytest.param(triton_launcher, id="triton")]
    if SIMULATED:
        return [pytest.param(SERVERS[name], id=name, marks=marks) for name, marks in simulated_servers()]
    found = [pytest.param(emulated_kernel, id="emulated")]
    if torch.cuda.is_available():
        found.append(pytest.param(on_gpu(cpp_kernel), id="cuda", marks=pytest.mark.cuda))
        found.append(pytest.param(on_gpu(triton_launcher), id="triton-cuda", marks=pytest.mark.cuda))
    return found


def nvcc_ptx_kernel(op: str) -> Callable:
    """The CUDA kernel of yolox_ops::<op>, as PTX on the simulator."""
    from tests.ptx.compiled_cuda import ptx_kernel

    return ptx_kernel(op)


def triton_ptx_kernel(op: str) -> Callable:
    """The Triton kernel of yolox_ops::<op>, as PTX on the simulator."""
    from tests.ptx.compiled_triton import triton_kernel

    return triton_kernel(op)


def simulated_servers() -> list[tuple[str, list]]:
    """Those of SERVERS that run on the simulator, and pytest's marks for them."""
    from tests.ptx.compiled_cuda import LIBRARY

    marks = [] if LIBRARY.exists() else [pytest.mark.skip(reason="no nvcc here, so no CUDA kernel became PTX")]
    return [("nvcc-ptx", marks), ("triton-ptx", [])]


SERVERS = {
    "nvcc-ptx": nvcc_ptx_kernel,
    "triton-ptx": triton_ptx_kernel,
    "emulated": emulated_kernel,
    "triton": triton_launcher,
    "cuda": on_gpu(cpp_kernel),
    "triton-cuda": on_gpu(triton_launcher),
}


def implementations(name: str) -> list:
    """Pytest parameters: functions with the public signature of yolox_ops.<name> that take and return CPU tensors.
    A test whose parameter is marked served_by("...") runs as a whole under that server, gradients included."""
    public = getattr(yolox_ops, name)

    def served_by(server: str, *marks) -> pytest.param:
        return pytest.param(public, id=server, marks=[pytest.mark.served_by(server), *marks])

    if INTERPRETED:
        return [served_by("triton")]
    if SIMULATED:
        return [served_by(server, *marks) for server, marks in simulated_servers()]
    found = [pytest.param(public, id="cpp"), served_by("emulated")]
    if torch.cuda.is_available():
        found += [served_by("cuda", pytest.mark.cuda), served_by("triton-cuda", pytest.mark.cuda)]
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
