"""Executes PTX on the CPU: warps with independent lanes, barriers, memory, and what is wrong with their use of them."""

import ctypes
import functools
import subprocess
from collections.abc import Sequence

from tests.ptx.build import OUTPUT
from tests.ptx.encode import encode, lay_out
from tests.ptx.parse import parse_module, read_body
from tests.ptx.syntax import Kernel


class SimulationError(RuntimeError):
    """Kernel, line of the PTX text, instruction, and the fact."""


@functools.cache
def library() -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(OUTPUT / "libsimulator.so"), mode=ctypes.RTLD_GLOBAL)
    for name in ("simulator_load", "simulator_launch"):
        getattr(loaded, name).restype = ctypes.c_char_p
    loaded.simulator_add_memory.restype = ctypes.c_bool
    loaded.simulator_add_memory.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    loaded.simulator_remove_memory.argtypes = [ctypes.c_void_p]
    loaded.simulator_set_seed.argtypes = [ctypes.c_uint64]
    loaded.simulator_look_for_races.argtypes = [ctypes.c_bool]
    loaded.simulator_unwritten.restype = ctypes.c_uint64
    return loaded


class Simulator:
    def __init__(self, seed: int = 0, looks_for_races: bool = True):
        self.library = library()
        self.set_seed(seed)
        self.library.simulator_look_for_races(looks_for_races)
        self.kernels: dict[str, Kernel] = {}
        self.decoded: set[str] = set()

    def set_seed(self, seed: int) -> None:
        """The order of blocks and warps is drawn from it."""
        self.library.simulator_set_seed(seed)

    def load(self, ptx: str, suffix: str = "") -> list[str]:
        """The names of a module's kernels, with a suffix that tells them from those of others. An instruction that is
        not known is an error of the first launch."""
        kernels = parse_module(ptx)
        for kernel in kernels:
            kernel.name += suffix
            self.kernels[kernel.name] = kernel
        return [kernel.name for kernel in kernels]

    def launch(self, name: str, grid: Sequence[int], threads: int, params: bytes, dynamic_shared: int = 0) -> None:
        if name not in self.decoded:
            self.check(self.library.simulator_load(encode(read_body(self.kernels[name])).encode()))
            self.decoded.add(name)
        blocks = (ctypes.c_uint32 * 3)(*grid)
        self.check(self.library.simulator_launch(name.encode(), blocks, threads, dynamic_shared, params))

    def check(self, error: bytes | None) -> None:
        if error is not None:
            kernel, _, rest = error.decode().partition(": ")
            raise SimulationError(f"{demangle(kernel)}: {rest}")

    def parameters(self, name: str) -> tuple[list[tuple[int, int]], int]:
        """(offset, bytes) of each parameter, and the bytes of all."""
        variables = self.kernels[name].parameters
        offsets, end = lay_out(variables)
        return [(offsets[variable.name], variable.bytes) for variable in variables], end


def demangle(name: str) -> str:
    if not name.startswith("_Z"):
        return name
    return subprocess.run(["c++filt", name], capture_output=True, text=True, check=True).stdout.strip()


class KnownMemory:
    """While active, kernels may touch these bytes: (address, count)."""

    def __init__(self, pieces: Sequence[tuple[int, int]]):
        self.pieces = pieces
        self.added: list[int] = []

    def __enter__(self) -> "KnownMemory":
        self.added = [at for at, count in self.pieces if count and library().simulator_add_memory(at, count)]
        return self

    def __exit__(self, *error: object) -> None:
        for address in self.added:
            library().simulator_remove_memory(address)
