"""The Triton kernels as their compiler's PTX, for CPU tensors: launchers run as they are, but for the launch."""

import functools
import hashlib
import importlib
import pkgutil
import struct
from collections.abc import Callable, Iterator
from types import ModuleType

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import CUDABackend
from triton.runtime.driver import driver

import yolox_ops.triton
from tests.ptx.build import OUTPUT
from tests.ptx.tensors import memory_of, simulator

TARGET = GPUTarget("cuda", 90, 32)
FORMATS = {"fp64": "d", "fp32": "f", "i64": "q", "u64": "Q", "i32": "i", "u32": "I", "i16": "h", "i8": "b", "i1": "?"}
SCRATCH = bytes(16)  # pointers that Triton adds behind the arguments; no kernel of ours uses what they point at


class Compiler:
    """A Triton driver without a device: a kernel that is warmed up under it is compiled for the target."""

    def __init__(self, target: GPUTarget):
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> str:
        return str(self.target)

    def get_current_stream(self, device: object) -> int:
        return 0


@functools.cache
def install() -> None:
    """Compiles as far as PTX, into a cache of its own, and launches on the simulator."""
    driver._active = Compiler(TARGET)
    triton.knobs.cache.dir = str(OUTPUT / "triton")
    add_stages = CUDABackend.add_stages

    def add_stages_up_to_ptx(self, stages, *args):
        add_stages(self, stages, *args)
        stages["cubin"] = lambda source, metadata: b""

    CUDABackend.add_stages = add_stages_up_to_ptx
    for module in launching_modules():
        module.launch = launch


def launching_modules() -> list[ModuleType]:
    """Those of yolox_ops.triton that launch kernels, by the name `launch`."""
    names = [module.name for module in pkgutil.iter_modules(yolox_ops.triton.__path__) if module.name != "launch"]
    modules = [importlib.import_module(f"yolox_ops.triton.{name}") for name in names]
    return [module for module in modules if hasattr(module, "launch")]


def launch(kernel, programs: int, *args: object, **constants: object) -> None:
    """Stands in for yolox_ops.triton.launch.launch, with its options."""
    if programs == 0:
        return
    compiled = kernel.warmup(*args, grid=(programs,), **constants, enable_fp_fusion=False)
    given = dict(zip(kernel.arg_names, args, strict=False)) | constants
    params = pack(value for name, kind in compiled.src.signature.items() for value in flatten(kind, given[name]))
    name = load(compiled.asm["ptx"])
    with memory_of(args):
        simulator().launch(name, (programs, 1, 1), 32 * compiled.metadata.num_warps, params, compiled.metadata.shared)


@functools.cache
def load(ptx: str) -> str:
    """The name of the module's kernel, which is compiled in many variants."""
    variant = hashlib.sha256(ptx.encode()).hexdigest()[:8]
    (OUTPUT / "triton").mkdir(parents=True, exist_ok=True)
    (name,) = simulator().load(ptx, suffix=f"_{variant}")
    (OUTPUT / f"triton/{name}.ptx").write_text(ptx)
    return name


def flatten(kind, value) -> Iterator[tuple[str, object]]:
    """(type, value) of what an argument is in the parameters: a tuple is its elements, a constant nothing."""
    if isinstance(kind, tuple | list):
        for kind_of_one, one in zip(kind, value, strict=True):
            yield from flatten(kind_of_one, one)
    elif kind.startswith("*"):
        yield "u64", 0 if value is None else value.data_ptr()
    elif kind != "constexpr":
        yield kind, value


def pack(values: Iterator[tuple[str, object]]) -> bytes:
    """Each value at a multiple of its size."""
    packed = b""
    for kind, value in values:
        size = struct.calcsize(FORMATS[kind])
        packed += bytes(-len(packed) % size) + struct.pack(f"={FORMATS[kind]}", value)
    return packed + bytes(-len(packed) % 8) + SCRATCH


def triton_kernel(op: str) -> Callable:
    """The Triton launcher of yolox_ops::<op>, its kernels executed by the simulator."""
    install()
    launcher = getattr(importlib.import_module(f"yolox_ops.triton.{op.removesuffix('_backward')}"), op)

    def call(*args: object) -> object:
        with memory_of(args):
            return launcher(*args)

    return call
