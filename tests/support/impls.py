"""The implementations that exist on this machine, and the checks that every op undergoes."""

import importlib
import os
from collections.abc import Callable

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

import yolox_ops

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def cpp_kernel(op: str) -> Callable:
    """yolox_ops::<op> as the dispatcher has it."""
    return getattr(torch.ops.yolox_ops, op)


def triton_launcher(op: str) -> Callable:
    """The function that serves yolox_ops::<op> where Triton does, for a call by name."""
    return getattr(importlib.import_module(f"yolox_ops.triton.{op.removesuffix('_backward')}"), op)


def on_gpu(find: Callable[[str], Callable]) -> Callable[[str], Callable]:
    """The same kernels on the GPU, for CPU tensors."""

    def find_there(op: str) -> Callable:
        def run(*args):
            args = tree_map_only(torch.Tensor, lambda t: t.cuda(), args)
            return tree_map_only(torch.Tensor, lambda t: t.cpu(), find(op)(*args))

        return run

    return find_there


def nvcc_ptx_kernel(op: str) -> Callable:
    """The CUDA kernel of yolox_ops::<op>, as PTX on the simulator."""
    from tests.ptx.compiled_cuda import ptx_kernel

    return ptx_kernel(op)


def triton_ptx_kernel(op: str) -> Callable:
    """The Triton kernel of yolox_ops::<op>, as PTX on the simulator."""
    from tests.ptx.compiled_triton import triton_kernel

    return triton_kernel(op)


# The implementations by name: each gives the kernel of an op, for CPU tensors.
SERVERS = {
    "cpp": cpp_kernel,
    "nvcc-ptx": nvcc_ptx_kernel,
    "triton-ptx": triton_ptx_kernel,
    "cuda": on_gpu(cpp_kernel),
    "triton-cuda": on_gpu(triton_launcher),
}
# Those that the tests of this process run on. One with -ptx in its name runs on the simulator of tests/ptx, which takes
# over torch's memory: no other is in the same process, unless its name ends so too.
SERVED = os.environ.get("YOLOX_OPS_SERVERS", "cpp cuda triton-cuda" if torch.cuda.is_available() else "cpp").split()
SIMULATED = any(name.endswith("-ptx") for name in SERVED)
# A process that runs on Triton alone, as one of `make test`'s does, spends most of its time compiling, about a second
# for every variant of a kernel: some tests take fewer.
COMPILING = SERVED == ["triton-ptx"]
# Where kernels run slowly, simulated or under sanitizers, some tests take smaller sizes.
SLOW = SIMULATED or "YOLOX_OPS_UNDER_TEST" in os.environ


def marks_of(server: str) -> list[pytest.MarkDecorator]:
    if server.endswith("cuda"):
        return [pytest.mark.cuda]
    if server == "nvcc-ptx":
        from setup import find_nvcc

        return [] if find_nvcc() else [pytest.mark.skip(reason="no nvcc here, so no CUDA kernel became PTX")]
    return []


def device_kernels(prefix: str = "") -> list:
    """Pytest parameters: SERVERS' functions, of those under test that are devices, or whose names begin so."""
    names = [name for name in SERVED if name != "cpp" and name.startswith(prefix)]
    return [pytest.param(SERVERS[name], id=name, marks=marks_of(name)) for name in names]


class ServedBy(TorchDispatchMode):
    """While active, ops of yolox_ops on CPU tensors go to another implementation: find(op) has the op's signature."""

    def __init__(self, find: Callable[[str], Callable]):
        super().__init__()
        self.find = find

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "yolox_ops":
            func = self.find(func._schema.name.removeprefix("yolox_ops::"))
        return func(*args, **(kwargs or {}))


def by_cpp(op: str, *args):
    return cpp_kernel(op)(*args)


def check_equals_cpp(find: Callable[[str], Callable], op: str, *args) -> None:
    """The kernel that find(op) gives has the bits of the one that serves these tensors."""
    torch.testing.assert_close(find(op)(*args), by_cpp(op, *args), rtol=0, atol=0, equal_nan=True)


def implementations(name: str) -> list:
    """Pytest parameters: functions with the public signature of yolox_ops.<name> that take and return CPU tensors.
    A test whose parameter is marked served_by("...") runs as a whole under that server, gradients included."""
    public = getattr(yolox_ops, name)

    def served_by(server: str) -> pytest.param:
        marks = [] if server == "cpp" else [pytest.mark.served_by(server), *marks_of(server)]
        return pytest.param(public, id=server, marks=marks)

    return [served_by(server) for server in SERVED]


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
