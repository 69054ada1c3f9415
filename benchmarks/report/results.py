"""What a run of the benchmarks measured, typed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

OURS = "yolox_ops"
SERVERS = {"cuda": "yolox_ops, CUDA C++", "triton": "yolox_ops, Triton"}
OPS = (  # in the order of README's table; others follow in the order of the file
    "pairwise_iou",
    "aligned_iou",
    "simota_cost",
    "dynamic_k_match",
    "simota",
    "ota",
    "sinkhorn",
    "soft_nms",
)


@dataclass(frozen=True)
class Measured:
    """One implementation on one case: seconds a call, and what else was counted of a call."""

    who: str
    median: float
    q1: float
    q3: float
    operators: int | None = None  # ATen operators
    waits: int | None = None  # those of them that make a GPU's host wait
    launches: int | None = None  # of kernels
    peak_bytes: int | None = None  # temporary memory beside the outputs
    gb_per_s: float | None = None

    @property
    def is_ours(self) -> bool:
        return self.who.startswith(OURS)

    @property
    def is_alternative(self) -> bool:
        """A peer that answers the same question; one that does not says "another algorithm" in its name."""
        return not self.is_ours and "another algorithm" not in self.who


@dataclass(frozen=True)
class Floor:
    """What a call must at least do, and how long the machine takes for that."""

    seconds: float
    bytes: int
    exps: int
    bound: str  # "bytes", "exponentials" or "divisions", whichever takes longest
    why: str


@dataclass(frozen=True)
class Row:
    """An entry of "benchmarks": ours, or the one named by "who", with the peers that ran interleaved with it."""

    table: str
    op: str
    case: str
    measured: Measured
    peers: tuple[Measured, ...]
    verified: str
    floor: Floor | None
    axis: str
    value: float
    extra: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """All implementations of one case, ours first."""

    op: str
    case: str
    measured: tuple[Measured, ...]
    verified: str

    @property
    def ours(self) -> Measured:
        return self.measured[0]

    @property
    def peers(self) -> tuple[Measured, ...]:
        return tuple(m for m in self.measured if not m.is_ours)


@dataclass(frozen=True)
class Result:
    """One JSON: one machine, one commit, one run."""

    name: str  # the file's, without .json
    datetime: str
    commit: dict[str, Any]
    cpu: str
    threads: int
    gpu: str | None
    versions: dict[str, str]
    not_installed: dict[str, str]
    ceilings: dict[str, float]
    rows: tuple[Row, ...] = field(repr=False)

    def of(self, *tables: str) -> list[Row]:
        """Rows of these tables, by op in the report's order."""
        return sorted((row for row in self.rows if row.table in tables), key=lambda row: op_order(row.op))

    def cases(self) -> list[Case]:
        """Ours beside the peers, wherever both ran: one case for each op and label."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.of("peers", "gpu"):
            found.setdefault((row.op, row.case), []).append(row)
        cases = []
        for (op, case), rows in found.items():
            rows.sort(key=lambda row: _ours_first(row.measured))
            by_name: dict[str, Measured] = {}
            for measured in (m for row in rows for m in (row.measured, *row.peers)):
                by_name.setdefault(measured.who, measured)  # the one that ran beside the first of ours
            ours_first = sorted(by_name.values(), key=_ours_first)
            if not ours_first[0].is_ours:
                where = f"got {', '.join(by_name)} in {self.name}.json"
                raise ValueError(f"{op}, {case} must have a time of {OURS}, {where}")
            cases.append(Case(op, case, tuple(ours_first), next((row.verified for row in rows if row.verified), "")))
        return cases


def _ours_first(measured: Measured) -> tuple[bool, str]:
    """Ours by name, so CUDA C++ before Triton; the others in their order."""
    return not measured.is_ours, measured.who if measured.is_ours else ""


def op_order(op: str) -> int:
    return OPS.index(op) if op in OPS else len(OPS)


def ops_of(items: Iterable[Row | Case]) -> list[str]:
    """The ops of these, each once, in their order."""
    return list(dict.fromkeys(item.op for item in items))
