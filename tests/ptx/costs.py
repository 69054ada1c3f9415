"""What instructions and memory cost on one H200, in the simulator's model. "guide": the CUDA C++ Programming Guide's
tables of compute capability 9.0, from whose results a cycle follows how long a warp has a pipe; "modelled": chosen to
fit what ptxas makes of an instruction, and not measured."""

import ctypes
from dataclasses import dataclass

from tests.ptx.syntax import Instruction

MEGAHERTZ = 1755  # boost clock, H100 and H200 data sheets


@dataclass(frozen=True)
class Cost:
    """In cycles: issue slots, until the result is ready, and of the pipes for integers and for float64."""

    issue: int = 1
    latency: int = 4
    integer: int = 0
    fp64: int = 0


# Simple operations. Guide: 128 float32, 64 int32, 64 float64 results a cycle; 16 of conversions that have 64 bits.
FLOAT = Cost(latency=4)  # latency modelled, as are all that follow
INTEGER = Cost(latency=5, integer=2)
PRODUCT = Cost(latency=5)
DOUBLE = Cost(latency=8, fp64=2)
DOUBLE_COMPARED = Cost(latency=12, fp64=2)
DOUBLE_CONVERTED = Cost(latency=20, fp64=8)
CONVERTED = Cost(latency=18)
MOVED = Cost(latency=2)
SPECIAL = Cost(issue=2, latency=22)  # guide: 16 results a cycle of ex2, lg2, rsqrt; they share no pipe here
# 64-bit integers are two or more 32-bit operations. Modelled.
WIDE = Cost(issue=2, latency=6, integer=4)
WIDE_COMPARED = Cost(issue=2, latency=8, integer=4)
WIDE_LEAST = Cost(issue=4, latency=12, integer=8)
WIDE_PRODUCT = Cost(issue=5, latency=14, integer=4)
DOUBLE_LEAST = Cost(issue=4, latency=16, integer=4, fp64=2)
DOUBLE_CHOSEN = Cost(issue=2, latency=5, integer=4)
# What ptxas expands: instructions on the path that is usual. Modelled.
QUOTIENTS = {"f32": Cost(12, 55, 4), "f64": Cost(20, 160, 4, 24), "wide": Cost(90, 350, 100), "int": Cost(23, 92, 24)}
ROOTS = {"f32": Cost(10, 50, 4), "f64": Cost(20, 170, 4, 24)}
RECIPROCALS = {"f32": Cost(8, 40, 4), "f64": Cost(12, 100, 4, 12)}
# Modelled; the latency of memory is the machine's.
FAMILIES = {
    "ld": Cost(latency=30),
    "st": Cost(latency=1),
    "atom": Cost(issue=2, latency=60),
    "red": Cost(issue=2, latency=1),
    "shfl": Cost(issue=2, latency=24),
    "vote": Cost(issue=2, latency=14),
    "redux": Cost(issue=2, latency=14),
    "bar": Cost(issue=2, latency=20),
    "barrier": Cost(issue=2, latency=20),
    "bra": Cost(issue=2, latency=6),
    "mov": MOVED,
    "cvta": MOVED,
    "ex2": SPECIAL,
    "lg2": SPECIAL,
    "rsqrt": SPECIAL,
}


def cost_of(instruction: Instruction) -> Cost:
    parts = instruction.opcode.split(".")
    family, kind = parts[0], parts[-1]
    is_wide = kind[1:] == "64" and kind[0] in "bsu"
    if family in FAMILIES:
        return FAMILIES[family]
    if family in ("div", "rem"):
        return QUOTIENTS["wide" if is_wide else kind if kind[0] == "f" else "int"]
    if family in ("sqrt", "rcp"):
        return (ROOTS if family == "sqrt" else RECIPROCALS)[kind]
    if family == "cvt":
        return DOUBLE_CONVERTED if "f64" in parts else CONVERTED if "f32" in parts else Cost(latency=2, integer=2)
    if kind == "f64":
        return cost_of_double(family)
    if is_wide:
        return cost_of_wide(family)
    if kind == "f32" and family in ("add", "sub", "mul", "fma"):
        return FLOAT
    return PRODUCT if family in ("mul", "mad") else INTEGER


def cost_of_double(family: str) -> Cost:
    if family in ("add", "sub", "mul", "fma"):
        return DOUBLE
    return {"setp": DOUBLE_COMPARED, "min": DOUBLE_LEAST, "max": DOUBLE_LEAST}.get(family, DOUBLE_CHOSEN)


def cost_of_wide(family: str) -> Cost:
    products = {"mul": WIDE_PRODUCT, "mad": WIDE_PRODUCT}
    return {"setp": WIDE_COMPARED, "min": WIDE_LEAST, "max": WIDE_LEAST, **products}.get(family, WIDE)


class InstructionCost(ctypes.Structure):
    """As simulator/cost.h has it."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("issue", "latency", "integer", "fp64")]


class Machine(ctypes.Structure):
    """As MachineCost of simulator/cost.h."""

    _fields_ = [
        (name, ctypes.c_uint32)
        for name in (
            *("multiprocessors", "warps", "blocks", "registers", "shared_bytes"),
            *("shared_latency", "l1_latency", "l2_latency", "atomic_latency", "shared_atomic_latency"),
            *("barrier", "start_of_block", "free_sectors", "reserved_shared_bytes"),
        )
    ]


H200 = Machine(
    multiprocessors=132,  # data sheet
    warps=64,  # this and the next three: guide
    blocks=32,
    registers=65536,
    shared_bytes=228 * 1024,
    reserved_shared_bytes=1024,  # guide
    shared_latency=30,  # from here on modelled
    l1_latency=33,
    l2_latency=300,
    atomic_latency=500,
    shared_atomic_latency=60,
    barrier=22,
    start_of_block=40,
    free_sectors=4,
)


class LaunchCost(ctypes.Structure):
    """Of a launch: cycles, and counts of warps' instructions."""

    _fields_ = [
        *((name, ctypes.c_double) for name in ("makespan", "throughput_bound", "longest_block", "mean_block")),
        *((name, ctypes.c_uint64) for name in ("blocks", "blocks_at_once", "instructions", "fp64_instructions")),
    ]

    @property
    def microseconds(self) -> float:
        """Modelled: of the blocks' latencies or of the pipes, whichever is more."""
        return max(self.makespan, self.throughput_bound) / MEGAHERTZ
