"""The CUDA kernels as nvcc's PTX, for CPU tensors. Their host code is nvcc's too; its launches come here."""

import ctypes
import functools
import re
from collections.abc import Callable

import torch

from tests.ptx.build import OUTPUT
from tests.ptx.simulator import built
from tests.ptx.tensors import memory_of, simulator

POINTERS = ctypes.POINTER(ctypes.c_void_p)
LAUNCH = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint32), ctypes.c_uint32, ctypes.c_uint32, POINTERS
)


class Kernels:
    """The library, and the error of the launch that failed last: host code knows only that it failed."""

    def __init__(self) -> None:
        self.simulator = simulator()
        self.most_blocks = 2**31  # along a side of a grid; kernels step through what is left
        self.error: Exception | None = None
        self.hook = LAUNCH(self.launch)
        define_ops()
        library = built("_C_simulated.so")
        torch.ops.load_library(library)
        runtime = ctypes.CDLL(str(library))
        runtime.runtime_module.restype = ctypes.c_char_p
        runtime.runtime_count_modules.restype = ctypes.c_size_t
        for index in range(runtime.runtime_count_modules()):
            self.load(runtime.runtime_module(ctypes.c_size_t(index)).decode())
        runtime.runtime_set_launch(self.hook)

    def load(self, ptx: str) -> None:
        """Registers a module, and leaves its text for who reads an error, under the name of the source."""
        names = self.simulator.load(ptx)
        source = re.search(r"_\d+_(\w+?)_cu_", names[0])
        assert source is not None, names[0]
        (OUTPUT / "cuda").mkdir(exist_ok=True)
        (OUTPUT / f"cuda/{source[1]}.ptx").write_text(ptx)

    def launch(self, name: bytes, grid, threads: int, dynamic_shared: int, args) -> int:
        """Called from C++, where no exception may go: it is kept for `call`."""
        try:
            kernel = name.decode()
            places, end = self.simulator.parameters(kernel)
            params = bytearray(end)
            for (offset, count), arg in zip(places, args[: len(places)], strict=True):
                params[offset : offset + count] = ctypes.string_at(arg, count)
            blocks = [min(n, self.most_blocks) for n in grid[:3]]
            self.simulator.launch(kernel, blocks, threads, bytes(params), dynamic_shared)
        except Exception as error:
            self.error = error
            return 1
        return 0

    def call(self, op: str, *args: object) -> object:
        self.error = None
        with memory_of(args):
            try:
                return getattr(torch.ops.yolox_ops_simulated, op)(*args)
            except RuntimeError:
                if self.error is not None:
                    raise self.error from None
                raise


def define_ops() -> None:
    """Those of yolox_ops once more, in a library of their own, for the kernels that include/ registers there."""
    for name in torch._C._dispatch_get_all_op_names():
        namespace, _, op = name.partition("::")
        if namespace == "yolox_ops":
            schema = str(getattr(torch.ops.yolox_ops, op).default._schema)
            torch.library.define(f"yolox_ops_simulated::{op}", schema[schema.index("(") :])


@functools.cache
def kernels() -> Kernels:
    return Kernels()


def ptx_kernel(op: str) -> Callable:
    """The CUDA kernel of yolox_ops::<op>, executed by the simulator."""
    return functools.partial(kernels().call, op)
