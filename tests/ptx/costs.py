"""What instructions and memory cost on GPUs, in the simulator's model. The source of a figure: "guide" is the CUDA C++
Programming Guide, its tables of compute capabilities 9.0 and 8.9, from whose results a cycle follows how long a warp
has a pipe; "modelled" was chosen to fit what ptxas makes of an instruction; "assumed" has no source. None is measured.
Executed is sm_90's PTX on either machine, with the registers that ptxas gives sm_90."""

import ctypes
from dataclasses import dataclass, fields

from tests.ptx.syntax import Instruction


@dataclass(frozen=True)
class Cost:
    """Issue slots, cycles until the result is ready and of the pipe for integers; float64 operations and conversions of
    64 bits, whose cycles the machine says."""

    issue: int = 1
    latency: int = 4
    integer: int = 0
    fp64: int = 0
    converted: int = 0


# Simple operations. Guide, both capabilities: 128 float32 and 64 int32 results a cycle.
FLOAT = Cost(latency=4)  # latency modelled, as are all that follow
INTEGER = Cost(latency=5, integer=2)
PRODUCT = Cost(latency=5)
DOUBLE = Cost(latency=8, fp64=1)
DOUBLE_COMPARED = Cost(latency=12, fp64=1)
DOUBLE_CONVERTED = Cost(latency=20, converted=1)
CONVERTED = Cost(latency=18)
MOVED = Cost(latency=2)
SPECIAL = Cost(issue=2, latency=22)  # guide: 16 results a cycle of ex2, lg2, rsqrt; they share no pipe here
# 64-bit integers are two or more 32-bit operations. Modelled.
WIDE = Cost(issue=2, latency=6, integer=4)
WIDE_COMPARED = Cost(issue=2, latency=8, integer=4)
WIDE_LEAST = Cost(issue=4, latency=12, integer=8)
WIDE_PRODUCT = Cost(issue=5, latency=14, integer=4)
DOUBLE_LEAST = Cost(issue=4, latency=16, integer=4, fp64=1)
DOUBLE_CHOSEN = Cost(issue=2, latency=5, integer=4)
# What ptxas expands: instructions on the path that is usual. Modelled.
QUOTIENTS = {
    "f32": Cost(issue=12, latency=55, integer=4),
    "f64": Cost(issue=20, latency=160, integer=4, fp64=12),
    "wide": Cost(issue=90, latency=350, integer=100),
    "int": Cost(issue=23, latency=92, integer=24),
}
ROOTS = {"f32": Cost(issue=10, latency=50, integer=4), "f64": Cost(issue=20, latency=170, integer=4, fp64=12)}
RECIPROCALS = {"f32": Cost(issue=8, latency=40, integer=4), "f64": Cost(issue=12, latency=100, integer=4, fp64=6)}
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
    if family == "rcp" and parts[1:] == ["approx", "ftz", "f32"]:
        return SPECIAL
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
    """As simulator/clocks.h has it, like the structures below."""

    _fields_ = [(field.name, ctypes.c_uint32) for field in fields(Cost)]


class MachineCost(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_uint32)
            for name in (
                *("multiprocessors", "warps", "blocks", "registers", "shared_bytes", "reserved_shared_bytes"),
                *("shared_latency", "l1_latency", "l2_latency", "atomic_latency", "shared_atomic_latency"),
                *("barrier", "start_of_block", "free_sectors", "fp64_cycles", "converted_cycles", "fp64_wait"),
            )
        ),
        *((name, ctypes.c_double) for name in ("megahertz", "bytes_per_cycle")),
    ]


H200 = MachineCost(
    multiprocessors=132,  # data sheet
    warps=64,  # this and the next four: guide
    blocks=32,
    registers=65536,
    shared_bytes=228 * 1024,
    reserved_shared_bytes=1024,
    fp64_cycles=2,  # guide: 64 results a cycle
    converted_cycles=8,  # guide: 16
    fp64_wait=0,  # the latencies above are those of sm_90
    megahertz=1755,  # assumed, as of an H100 PCIe at its boost; the data sheet's 67 TFLOPS of float32 are at 1980
    bytes_per_cycle=4.8e12 / 1755e6,  # data sheet: 4.8 TB/s
    shared_latency=30,  # from here on assumed
    l1_latency=33,
    l2_latency=300,
    atomic_latency=500,
    shared_atomic_latency=60,
    barrier=22,
    start_of_block=40,
    free_sectors=4,
)

RTX_4090 = MachineCost(
    multiprocessors=128,  # Ada whitepaper
    warps=48,  # this and the next four: guide
    blocks=24,
    registers=65536,
    shared_bytes=100 * 1024,
    reserved_shared_bytes=1024,
    fp64_cycles=64,  # guide: 2 results a cycle
    converted_cycles=64,  # guide: 2
    fp64_wait=14,  # assumed: 16 cycles of a multiprocessor's only pipe, against 2 of a quarter's own
    megahertz=2520,  # boost clock, Ada whitepaper
    bytes_per_cycle=1.008e12 / 2520e6,  # Ada whitepaper: 1008 GB/s
    l2_latency=279,  # arXiv 2606.22588, the mean over an L40, the same chip; 222 to 339
    shared_latency=30,  # from here on assumed to be an H200's
    l1_latency=33,
    atomic_latency=500,
    shared_atomic_latency=60,
    barrier=22,
    start_of_block=40,
    free_sectors=4,
)


class LaunchCost(ctypes.Structure):
    """Of a launch on a machine: cycles, and counts of warps' instructions."""

    _fields_ = [
        *((name, ctypes.c_double) for name in ("makespan", "throughput_bound", "memory_bound")),
        *((name, ctypes.c_double) for name in ("longest_block", "mean_block", "megahertz")),
        *((name, ctypes.c_uint64) for name in ("blocks", "blocks_at_once", "instructions", "fp64_instructions")),
        ("bytes", ctypes.c_uint64),
    ]

    @property
    def bound(self) -> float:
        """Cycles that no order of blocks goes below: of the pipes, or of moving each byte that is touched once."""
        return max(self.throughput_bound, self.memory_bound)

    @property
    def microseconds(self) -> float:
        """Modelled: of the blocks' latencies or of the bound, whichever is more."""
        return max(self.makespan, self.bound) / self.megahertz

    @property
    def bound_microseconds(self) -> float:
        return self.bound / self.megahertz
