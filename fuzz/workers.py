"""Child processes that make the calls, and a parent that outlives them."""

import ctypes
import itertools
import math
import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import torch

from fuzz.calls import FAMILY, Outcome, calls, check

# Seconds of its own that a worker may take for a call, and of the clock, by which one may wait for the others on the
# machine. The longest call takes less than one.
HANG, WAIT = 60.0, 900.0
SPARE = 2 << 30  # bytes that a worker may allocate beside what it has when it starts
# Forked, a worker has what the parent imported.
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Plan:
    """Which calls are made, and how."""

    names: Sequence[str]
    seed: int
    seconds: float
    counts_are_clamped: bool = False  # as on a GPU
    huge: bool = False
    share: float = 0.1  # of answers that are compared
    most: float = math.inf  # calls of each op
    check: Callable[..., Outcome] = check


@dataclass
class Finding:
    name: str
    number: int
    what: str


@dataclass
class Report:
    counts: dict[str, list[int]]  # calls of each op by Outcome
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def calls(self) -> int:
        return sum(map(sum, self.counts.values()))


class Worker:
    """One process and what it shares with the parent, which outlives it: the calls that were made, by op and outcome,
    and which is being made."""

    def __init__(self, plan: Plan, index: int, workers: int):
        self.plan, self.index, self.workers = plan, index, workers
        self.table = FORK.RawArray(ctypes.c_int64, len(plan.names) * len(Outcome))
        self.call = FORK.RawArray(ctypes.c_int64, 2)  # the op's index in plan.names, the call's number
        self.call[1] = index * FAMILY
        self.until = time.monotonic() + plan.seconds
        self.start()

    def start(self) -> None:
        self.pipe, theirs = FORK.Pipe(duplex=False)
        self.process = FORK.Process(target=_work, args=(self, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.moved, self.last, self.spent = time.monotonic(), (-1, -1), 0.0

    def skip(self) -> Finding:
        """The call being made becomes a finding, and the next one is the next to be made."""
        op, number = self.call
        self.advance()
        return Finding(self.plan.names[op], number, "")

    def advance(self) -> None:
        self.call[1] += 1
        if self.call[1] % FAMILY:
            return
        if self.call[0] + 1 < len(self.plan.names):
            self.call[0] += 1
            self.call[1] -= FAMILY
        else:
            self.call[0] = 0
            self.call[1] += (self.workers - 1) * FAMILY

    def findings(self) -> Iterator[Finding]:
        while self.pipe.poll():
            try:
                yield self.pipe.recv()
            except EOFError:
                return

    def hangs(self) -> bool:
        now, ran = tuple(self.call), self.ran()
        if now != self.last:
            self.last, self.moved, self.spent = now, time.monotonic(), ran
        return time.monotonic() - self.moved > WAIT or ran - self.spent > HANG

    def ran(self) -> float:
        """Seconds that the process has had of a core."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _work(worker: Worker, pipe: Connection) -> None:
    """A worker's life. Families of calls go round the ops, so that each has as many."""
    plan = worker.plan
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)  # unwritten memory holds NaN or INT64_MAX
    if plan.huge:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + SPARE, taken + SPARE))
    while time.monotonic() < worker.until and worker.call[1] < plan.most:
        op, first = worker.call
        name = plan.names[op]
        for number, call in itertools.islice(calls(name, plan.seed, first, plan.huge), FAMILY - first % FAMILY):
            try:
                outcome = plan.check(call, Random(number), plan.counts_are_clamped, plan.share)
                worker.table[op * len(Outcome) + outcome] += 1
            except Exception:  # a finding, whatever it is
                pipe.send(Finding(name, number, f"{call}\n{traceback.format_exc()}"))
            worker.advance()
    pipe.close()
    os._exit(0)


def fuzz(plan: Plan, workers: int, told: Callable[[Finding], Any]) -> Report:
    """Makes calls until the time is over; `told` hears of every finding at once."""
    start = time.monotonic()
    crew = [Worker(plan, index, workers) for index in range(workers)]
    report = Report({name: [0] * len(Outcome) for name in plan.names})

    def found(finding: Finding) -> None:
        report.findings.append(finding)
        told(finding)

    running = list(crew)
    while running:
        time.sleep(0.05)
        for worker in list(running):
            over, hangs = not worker.process.is_alive(), worker.hangs()
            for finding in worker.findings():
                found(finding)
            if not over and not hangs:
                continue
            if hangs and not over:
                worker.process.kill()
            worker.process.join()
            code = worker.process.exitcode or 0
            if code == 0:
                running.remove(worker)
                continue
            finding = worker.skip()
            died = f"died by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            finding.what = "hung" if hangs else died
            found(finding)
            if time.monotonic() < worker.until:
                worker.start()
            else:
                running.remove(worker)
    for worker in crew:
        for i, name in enumerate(plan.names):
            for outcome in Outcome:
                report.counts[name][outcome] += worker.table[i * len(Outcome) + outcome]
    report.seconds = time.monotonic() - start
    return report
