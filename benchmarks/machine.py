"""What a result was measured on: processor, versions, and the ceilings that no op can be faster than."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import torch

import yolox_ops

MEGABYTE = 1 << 20
BUFFERS = {"L2": MEGABYTE, "L3": 4 * MEGABYTE, "memory": 256 * MEGABYTE}  # bytes that a copy reads and writes


def processor() -> str:
    """ "AMD EPYC, 2 cores, x86-64-v4 (AVX-512)"; the model as the kernel of the system gives it."""
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^(?:model name|CPU part)\s*:\s*(.+)$", text, re.MULTILINE)
    cores = len(os.sched_getaffinity(0))
    return f"{model[1] if model else 'unknown'}, {cores} cores, {yolox_ops.build_info()['simd']}"


def fastest(call: Callable[[], object], seconds: float = 0.15) -> float:
    """Seconds of the fastest of the calls that fit in `seconds`."""
    best, until = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < until:
        call()
        best = min(best, time.perf_counter() - start)
    return best


def seconds_to_copy(size: int) -> float:
    source, target = torch.rand(size // 4), torch.empty(size // 4)
    return fastest(lambda: target.copy_(source))


def ceilings() -> dict[str, float]:
    """Bytes copied (read and written both counted), filled and read, exponentials and divisions a second: torch's own
    loops, which are vectorised, with the threads that it has now. Copies also of what fits in the caches. The best of
    three rounds, as others may have the machine in one of them."""
    rounds = [_round() for _ in range(3)]
    return {name: max(found[name] for found in rounds) for name in rounds[0]}


def _round() -> dict[str, float]:
    found = {f"bytes copied, {level}": size / seconds_to_copy(size // 2) for level, size in BUFFERS.items()}
    large = torch.rand(BUFFERS["memory"] // 4)
    found["bytes filled, memory"] = large.nbytes / fastest(lambda: large.fill_(1.0))
    found["bytes read, memory"] = large.nbytes / fastest(large.sum)
    small = torch.rand(BUFFERS["L2"] // 4)
    out = torch.empty_like(small)
    found["exponentials"] = small.numel() / fastest(lambda: torch.exp(small, out=out))
    found["divisions"] = small.numel() / fastest(lambda: torch.div(small, small, out=out))
    return found


def slug() -> str:
    """The name of a result: "nvidia_h200", or "cpu_amd_epyc_2_threads"."""
    if torch.cuda.is_available():
        return re.sub(r"\W+", "_", torch.cuda.get_device_name()).lower()
    return re.sub(r"\W+", "_", f"cpu {processor().split(',')[0]} {threads()} threads").lower()


def threads() -> int:
    """That benchmarks run with."""
    return min(2, os.cpu_count() or 1)


if __name__ == "__main__":
    print(slug())
