"""Kernels of a few lines for the simulator's own tests."""

import functools
import hashlib
import re

import numpy

from tests.ptx.simulator import KnownMemory, Simulator

DTYPES = {
    **{f"u{bits}": numpy.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"b{bits}": numpy.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"s{bits}": numpy.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    "f32": numpy.dtype("float32"),
    "f64": numpy.dtype("float64"),
    "pred": numpy.dtype("uint32"),  # as 0 and 1
}


@functools.cache
def simulator() -> Simulator:
    return Simulator()


def kernel(body: str, arrays: int, declarations: str = "") -> str:
    """A kernel whose arrays' addresses stand in %a0, %a1, ... and whose thread's number in %t."""
    parameters = ", ".join(f".param .u64 p{k}" for k in range(arrays))
    loads = "\n".join(f"ld.param.u64 %a{k}, [p{k}];" for k in range(arrays))
    code = f"{declarations}\nmov.u32 %t, %tid.x;\n{loads}\n{body}\nret;"
    registers = ", ".join(sorted(set(re.findall(r"%\w+", code))))
    return f".visible .entry small({parameters})\n{{\n.reg .b64 {registers};\n{code}\n}}\n"


def run(body: str, *arrays: numpy.ndarray, threads: int = 32, grid=(1, 1, 1), declarations: str = "", seed: int = 0):
    """Runs a kernel on arrays, which it may write."""
    text = kernel(body, len(arrays), declarations)
    simulator().set_seed(seed)
    (name,) = simulator().load(text, suffix=hashlib.sha256(text.encode()).hexdigest()[:12])
    params = b"".join(array.ctypes.data.to_bytes(8, "little") for array in arrays)
    with KnownMemory([(array.ctypes.data, array.nbytes) for array in arrays]):
        simulator().launch(name, grid, threads, params)


def aligned_words(count: int) -> numpy.ndarray:
    """At a multiple of 64 bytes, as torch allocates."""
    words = numpy.zeros(count + 15, "u4")
    return words[-(words.ctypes.data // 4) % 16 :][:count]


def element(array: int, dtype: str, index: str = "%t") -> str:
    """Puts the address of an element of an array into %e<array>."""
    return f"mad.wide.u32 %e{array}, {index}, {DTYPES[dtype].itemsize}, %a{array};"


def load(array: int, dtype: str) -> str:
    """Loads the thread's element into %v<array>."""
    if dtype == "pred":
        return f"{element(array, dtype)} ld.global.b32 %w{array}, [%e{array}]; setp.ne.b32 %v{array}, %w{array}, 0;"
    return f"{element(array, dtype)} ld.global.{dtype} %v{array}, [%e{array}];"


def store(array: int, dtype: str, register: str) -> str:
    """Stores a register into the thread's element."""
    if dtype == "pred":
        chosen = f"selp.b32 %w{array}, 1, 0, {register};"
        return f"{chosen} {element(array, dtype)} st.global.b32 [%e{array}], %w{array};"
    return f"{element(array, dtype)} st.global.{dtype} [%e{array}], {register};"


def apply(opcode: str, result: str, kinds: list[str], *sources: numpy.ndarray) -> numpy.ndarray:
    """An instruction's results in as many threads as the sources have elements; kinds are the sources' types."""
    count = len(sources[0])
    arrays = [numpy.array(source, dtype=DTYPES[kind]) for source, kind in zip(sources, kinds, strict=True)]
    found = numpy.zeros(count, DTYPES[result])
    loads = "\n".join(load(k, kind) for k, kind in enumerate(kinds))
    operands = ", ".join(f"%v{k}" for k in range(len(kinds)))
    run(f"{loads}\n{opcode} %x, {operands};\n{store(len(arrays), result, '%x')}", *arrays, found, threads=count)
    return found
