"""Times an op beside others that answer the same question: in one process, on the same inputs, taking turns, so that
what else the machine does meets each of them. What is timed has been verified by the caller."""

import statistics
import time
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Call = Callable[[], Any]
SECONDS = 0.6  # for each contender of a case
MOST_ROUNDS, LEAST_ROUNDS = 40, 5
WARM = (
    0.01  # seconds of calls that are not timed, with which a turn begins: they find the caches as the others left them
)


def timed(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def warm_up(call: Call) -> None:
    until = time.perf_counter() + WARM
    while time.perf_counter() < until:
        call()


class Contender:
    """One of those that take turns. It has as many as fit in SECONDS, at least three."""

    def __init__(self, call: Call, rounds: int) -> None:
        self.call, self.seconds = call, [timed(call)]
        self.each = max(1, round(rounds / max(3, SECONDS / self.seconds[0])))  # a turn every so many rounds
        self.turns = 0

    def turn(self) -> None:
        self.turns += 1
        if (self.turns - 1) % self.each:
            return
        if self.seconds[0] < WARM:
            warm_up(self.call)
        self.seconds.append(timed(self.call))

    def stats(self) -> dict[str, float]:
        """The first call, which warms up, does not count."""
        seconds = self.seconds[1:]
        low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
        return {"median": middle, "q1": low, "q3": high, "rounds": len(seconds)}


class _Operators(TorchDispatchMode):
    """Counts the operators that reach a device, and those of them for which a GPU makes the host wait."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not func.is_view:
            self.operators += 1
        masked = name.startswith("index") and any(
            isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8)
            for arg in args
            if isinstance(arg, (list, tuple))
            for i in arg
        )
        self.waits += masked or name in ("_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2")
        return func(*args, **(kwargs or {}))


def operators(call: Call) -> dict[str, int]:
    """ATen operators of a call, which are about the launches on a GPU, and host synchronisations among them."""
    with _Operators() as counted:
        call()
    return {"operators": counted.operators, "waits": counted.waits}


def race(
    benchmark: Any,
    ours: Call,
    peers: dict[str, Call],
    *,
    op: str,
    case: str,
    verified: str,
    table: str,
    counted: Collection[str] = (),
    **info: Any,
) -> None:
    """Takes turns, and notes all in the result of pytest-benchmark, whose own figures are those of `ours`. Of peers in
    `counted`, and then of ours, the operators are counted too. `info` goes into extra_info as it is."""
    benchmark.group = f"{op}: {case}"
    first = min(timed(ours), timed(ours))
    rounds = round(min(MOST_ROUNDS, max(LEAST_ROUNDS, SECONDS / first)))
    contenders = {name: Contender(call, rounds) for name, call in peers.items()}

    def others() -> None:
        for contender in contenders.values():
            contender.turn()
        if first < WARM:
            warm_up(ours)

    benchmark.pedantic(ours, setup=others, rounds=rounds)
    stats: dict[str, dict[str, Any]] = {name: contender.stats() for name, contender in contenders.items()}
    for name in counted:
        stats[name].update(operators(peers[name]))
    benchmark.extra_info.update(table=table, op=op, case=case, verified=verified, **info)
    if counted:
        benchmark.extra_info.update(operators(ours))
    if stats:
        benchmark.extra_info["peers"] = stats
