"""Calls every op from many threads of one process, and from other processes at the same time, and holds each answer
against the one computed before, bit for bit, and the memory of each process against what it was.

    PYTHONPATH=.:tests/support python tests/programs/load.py --minutes 5 --threads 64 --processes 8

Fails where an answer differs, or where memory grew by more than a twentieth after the first third of the time."""

import argparse
import ctypes
import hashlib
import multiprocessing
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from statistics import median
from typing import NamedTuple

import torch
from cases import make_cases

MB = 2**20
# What a process may grow by whatever its size: arenas of the allocator that fill up late.
SLACK = 16 * MB


class Report(NamedTuple):
    answers: dict[str, str]  # case: a digest of its bits
    calls: int
    wrong: list[str]  # the case of every call whose answer differed
    memory: list[int]  # resident bytes after every round, while no call runs

    def growth(self) -> float:
        """Bytes by which the median of the last third exceeds that of the third before; single rounds differ by tens of
        megabytes, by what each thread's allocator holds."""
        third = len(self.memory) // 3
        return median(self.memory[-third:]) - median(self.memory[third:-third]) if third else 0

    def problems(self) -> list[str]:
        found = [f"{name}: another answer" for name in sorted(set(self.wrong))]
        if self.growth() > max(SLACK, self.memory[0] // 20):
            found.append(f"memory: {self.growth() / MB:.0f} MB more in the last third of the time than in the second")
        return found


def resident() -> int:
    """What this process holds once the allocator has given back what is free: 64 threads leave much of that about."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def load(seconds: float, threads: int, seed: int = 0) -> Report:
    """Rounds of calls in random order until the time is over, each of at least two calls a thread."""
    torch.set_num_threads(2)
    cases = {
        f"{name} {dtype}": case for dtype in (torch.float32, torch.float64) for name, case in make_cases(dtype).items()
    }
    digest = {name: hashlib.sha256(b"".join(case.answer())).hexdigest() for name, case in cases.items()}
    shuffled, wrong, memory, calls = random.Random(seed), [], [], 0

    def check(name: str) -> None:
        if hashlib.sha256(b"".join(cases[name].answer())).hexdigest() != digest[name]:
            wrong.append(name)

    end = time.monotonic() + seconds
    with ThreadPoolExecutor(threads) as pool:
        while time.monotonic() < end or not memory:
            names = list(cases) * (1 + 2 * threads // len(cases))
            shuffled.shuffle(names)
            for _ in pool.map(check, names):
                pass
            calls += len(names)
            memory.append(resident())
    return Report(digest, calls, wrong, memory)


def load_all(seconds: float, threads: int, processes: int) -> list[Report]:
    """This process with so many threads, and so many others with four each."""
    with ProcessPoolExecutor(processes or 1, multiprocessing.get_context("spawn")) as pool:
        others = [pool.submit(load, seconds, 4, 1 + i) for i in range(processes)]
        reports = [load(seconds, threads)]
        return reports + [other.result() for other in others]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--processes", type=int, default=8)
    options = parser.parse_args()
    reports = load_all(60 * options.minutes, options.threads, options.processes)
    problems = []
    for i, report in enumerate(reports):
        who = f"process {i}, {4 if i else options.threads} threads"
        first, middle, last = report.memory[0], report.memory[len(report.memory) // 2], report.memory[-1]
        print(
            f"{who}: {report.calls} calls, {len(report.wrong)} wrong, {len(report.memory)} rounds; resident after the "
            f"first {first / MB:.0f}, midway {middle / MB:.0f}, at the end {last / MB:.0f} MB"
        )
        problems += [f"{who}: {problem}" for problem in report.problems()]
        if report.answers != reports[0].answers:
            problems.append(f"{who}: other answers than process 0")
    print(f"{sum(report.calls for report in reports)} calls")
    print(*problems, sep="\n", end="\n" if problems else "")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
