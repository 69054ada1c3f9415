"""How the instructions of an op grow along one axis: growth without caches, memory and noise."""

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import units
from benchmarks.report.growth import LINEAR, Point, per_doubling, steps
from benchmarks.report.tables import table


@dataclass(frozen=True)
class Work:
    op: str
    axis: str
    points: tuple[Point, ...]  # size, instructions

    @property
    def steepest(self) -> tuple[float, Point, Point] | None:
        """The largest growth per doubling, and the step that has it; None where no size takes twice the smallest's."""
        found = [(per_doubling(*step), step[1], step[2]) for step in steps(self.points)]
        return max(found, default=None)


def read_work(path: Path) -> list[Work]:
    """Of a record that `python -m benchmarks.instructions --growth` has written."""
    return [
        Work(op, axis, tuple((float(size), float(count)) for size, count in counts.items()))
        for op, axes in json.loads(path.read_text())["growth"].items()
        for axis, counts in axes.items()
    ]


def work_verdict(works: list[Work]) -> str:
    above = [f"`{work.op}` along {work.axis}" for work in works if work.steepest and work.steepest[0] > LINEAR]
    said = f"{len(works) - len(above)} of {len(works)} sweeps grow by at most {LINEAR} instructions per doubling"
    return f"{said}; more do {', '.join(above)}." if above else f"{said}."


def work_table(works: list[Work]) -> str:
    rows = []
    for work in works:
        sizes = ", ".join(f"{size:,.0f}" for size, _ in work.points)
        counts = f"{units.count(work.points[0][1])} to {units.count(work.points[-1][1])}"
        growth = "never twice the count of the smallest size"
        if step := work.steepest:
            growth = f"{units.rounded(step[0])}, {step[1][0]:,.0f} to {step[2][0]:,.0f}"
        rows.append([f"`{work.op}`", work.axis, sizes, counts, growth])
    return table(["op", "axis", "sizes", "instructions", "largest growth per doubling"], rows)
