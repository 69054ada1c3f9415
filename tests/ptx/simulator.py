"""Executes PTX on the CPU: warps with independent lanes, barriers, memory, and what is wrong with their use of them.

The way of a kernel, and so an order to read the files in:

1. compiled_cuda.py and compiled_triton.py give a test an op's kernels. Host code and launchers run as they are; their
   launches come to `Simulator.launch`. tensors.py and allocator.cpp say which memory is alive.
2. parse.py and operands.py read PTX text into what syntax.py lists. encode.py writes that as the plain text which
   simulator/ loads; decode.cpp, opcodes.cpp and access_opcodes.cpp find the function of each instruction.
3. simulator/simulator.cpp runs a launch: block.cpp its warps and their barrier, warp.cpp its lanes. The functions stand
   in access.cpp and atomics.cpp (memory), exchange.cpp (what lanes tell each other), and, as arithmetic.h lists them,
   integers.cpp, floats.cpp, bits.cpp, comparisons.cpp, conversions.cpp and moves.cpp. races.cpp checks every access.
4. Where costs are asked for, schedule.py orders a kernel's instructions first, costs.py says what each takes,
   registers.py asks ptxas, and simulator/cost.cpp watches the launch: clocks.cpp its time, traffic.cpp its memory.

small_kernels.py and values.py are for the simulator's own tests.
"""

import ctypes
import functools
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.ptx.build import OUTPUT
from tests.ptx.costs import H200, InstructionCost, LaunchCost, MachineCost, cost_of
from tests.ptx.encode import encode, lay_out
from tests.ptx.parse import parse_module, read_body
from tests.ptx.registers import registers_of
from tests.ptx.schedule import schedule
from tests.ptx.syntax import Kernel


class SimulationError(RuntimeError):
    """Kernel, line of the PTX text, instruction, and the fact."""


def built(name: str) -> Path:
    path = OUTPUT / name
    if not path.exists():
        raise ImportError(f"{path} is missing: make simulator")
    return path


@functools.cache
def library() -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(built("libsimulator.so")), mode=ctypes.RTLD_GLOBAL)
    for name in ("simulator_load", "simulator_launch", "simulator_set_costs"):
        getattr(loaded, name).restype = ctypes.c_char_p
    loaded.simulator_set_costs.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32]
    loaded.simulator_measure.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    loaded.simulator_last_cost.restype = LaunchCost
    loaded.simulator_last_cost.argtypes = [ctypes.c_size_t]
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
        self.looks_for_races = looks_for_races
        self.library.simulator_look_for_races(looks_for_races)
        self.kernels: dict[str, Kernel] = {}
        self.decoded: set[str] = set()
        self.layouts: dict[str, tuple[list[tuple[int, int]], int]] = {}
        self.costs: list[tuple[str, list[LaunchCost]]] | None = None  # of launches, while they are measured
        self.machines: tuple[MachineCost, ...] = ()
        self.scheduled: set[str] = set()
        self.asks_ptxas = False
        self.registers: dict[str, int] = {}  # of a thread, by kernel, where ptxas was asked
        self.modules: dict[str, tuple[str, str]] = {}  # by kernel: PTX, and the name there

    def set_seed(self, seed: int) -> None:
        """The order of blocks and warps is drawn from it."""
        self.library.simulator_set_seed(seed)

    def load(self, ptx: str, suffix: str = "") -> list[str]:
        """The names of a module's kernels, with a suffix that tells them from those of others. An instruction that is
        not known is an error of the first launch."""
        kernels = parse_module(ptx)
        for kernel in kernels:
            self.modules[kernel.name + suffix] = (ptx, kernel.name)
            kernel.name += suffix
            self.kernels[kernel.name] = kernel
            for known in (self.decoded, self.scheduled):
                known.discard(kernel.name)
            self.layouts.pop(kernel.name, None)
        return [kernel.name for kernel in kernels]

    def launch(self, name: str, grid: Sequence[int], threads: int, params: bytes, dynamic_shared: int = 0) -> None:
        if name not in self.decoded:
            read_body(self.kernels[name])
            self.decode(name)
        if self.costs is not None and name not in self.scheduled:
            self.set_costs(name)
        _, needed = self.parameters(name)
        if len(params) < needed:
            raise ValueError(f"params must have {needed} bytes for {demangle(name)}, got {len(params)}")
        blocks = (ctypes.c_uint32 * 3)(*grid)
        self.check(self.library.simulator_launch(name.encode(), blocks, threads, dynamic_shared, params))
        if self.costs is not None:
            on_each = [self.library.simulator_last_cost(machine) for machine in range(len(self.machines))]
            self.costs.append((demangle(name), on_each))

    def decode(self, name: str) -> None:
        self.check(self.library.simulator_load(encode(self.kernels[name]).encode()))
        self.decoded.add(name)

    def set_costs(self, name: str) -> None:
        """Orders a kernel's instructions as ptxas might, and says what each costs."""
        kernel = self.kernels[name]
        schedule(kernel)
        self.decode(name)
        if self.asks_ptxas:
            ptx, name_there = self.modules[name]
            self.registers[name] = registers_of(ptx)[name_there]
        costs = [InstructionCost(**vars(cost_of(instruction))) for instruction in kernel.instructions]
        array = (InstructionCost * len(costs))(*costs)
        self.check(self.library.simulator_set_costs(name.encode(), array, len(costs), self.registers.get(name, 64)))
        self.scheduled.add(name)

    @contextmanager
    def measured(self, *machines: MachineCost, asks_ptxas: bool = True) -> Iterator[list[tuple[str, list[LaunchCost]]]]:
        """While active, each launch adds its kernel's name and modelled cost on each machine to the list, and races are
        not looked for. How many blocks fit side by side depends on their registers: what ptxas says, or 64 a thread."""
        self.costs, self.asks_ptxas, self.machines = [], asks_ptxas, machines or (H200,)
        self.library.simulator_measure((MachineCost * len(self.machines))(*self.machines), len(self.machines))
        self.library.simulator_look_for_races(False)
        try:
            yield self.costs
        finally:
            self.costs = None
            self.library.simulator_measure(None, 0)
            self.library.simulator_look_for_races(self.looks_for_races)

    def check(self, error: bytes | None) -> None:
        if error is not None:
            kernel, _, rest = error.decode().partition(": ")
            raise SimulationError(f"{demangle(kernel)}: {rest}")

    def parameters(self, name: str) -> tuple[list[tuple[int, int]], int]:
        """(offset, bytes) of each parameter, and the bytes of all."""
        if name not in self.layouts:
            variables = self.kernels[name].parameters
            offsets, end = lay_out(variables)
            self.layouts[name] = [(offsets[variable.name], variable.bytes) for variable in variables], end
        return self.layouts[name]


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
