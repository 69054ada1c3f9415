"""The report's tables, in Markdown."""

from collections.abc import Sequence

from benchmarks.report import units
from benchmarks.report.growth import LINEAR, Curve
from benchmarks.report.results import OURS, Case, Measured, Result, Row


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, without the columns that no row fills."""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    lines = [[header[i] for i in kept], ["---"] * len(kept), *([row[i] for i in kept] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _time(m: Measured) -> str:
    return units.quartiles(m.median, m.q1, m.q3)


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:g}"


def _operators(m: Measured) -> str:
    """Operators and launches of a call, and the waits among them, as far as they were counted."""
    counted = [(m.operators, "operators"), (m.launches, "launches"), (m.waits, "waits")]
    return ", ".join(f"{n:,} {what[: -1 if n == 1 else None]}" for n, what in counted if n is not None)


def peers_table(cases: Sequence[Case]) -> str:
    """All implementations of every case; the ratio is a peer's median over ours."""
    rows = []
    for case in cases:
        for i, m in enumerate(case.measured):
            bold = "**" if m.is_ours else ""
            rows.append(
                [
                    case.case if i == 0 else "",
                    f"{bold}{m.who}{bold}",
                    _time(m),
                    "" if i == 0 else units.ratio(m.median / case.ours.median),
                    _operators(m),
                    f"{m.gb_per_s:.0f} GB/s" if m.gb_per_s is not None else "",
                    units.size(m.peak_bytes) if m.peak_bytes is not None else "",
                ]
            )
    return table(["case", "who", "median (quartiles)", "ratio", "a call has", "moves", "temporary memory"], rows)


def floor_rows(result: Result) -> list[Row]:
    """Ours with a floor: every case beside peers, and of a growth curve its largest size."""
    rows = [row for row in result.of("peers", "gpu", "growth") if row.floor and row.measured.is_ours]
    largest: dict[tuple[str, str, str], float] = {}
    for row in rows:
        key = row.op, row.axis, row.measured.who
        largest[key] = max(row.value, largest.get(key, 0.0))
    return [row for row in rows if row.table != "growth" or row.value == largest[row.op, row.axis, row.measured.who]]


def floor_table(rows: Sequence[Row]) -> str:
    """What a call must at least move and compute, the time that the machine takes for it, and ours over that time."""
    lines = []
    for row in rows:
        assert row.floor is not None
        lines.append(
            [
                f"`{row.op}`" + (f", {row.measured.who}" if row.measured.who != OURS else ""),
                row.case,
                units.size(row.floor.bytes),
                units.count(row.floor.exps) if row.floor.exps else "",
                row.floor.bound,
                units.seconds(row.floor.seconds),
                units.seconds(row.measured.median),
                units.ratio(row.measured.median / row.floor.seconds),
            ]
        )
    header = ["op", "case", "bytes", "exponentials", "ceiling", "floor", "measured", "time over floor"]
    counted = dict.fromkeys((row.op, row.floor.why.rstrip(".")) for row in rows if row.floor)
    return table(header, lines) + "\n\nCounted:\n\n" + "\n".join(f"- `{op}`: {why}." for op, why in counted)


def growth_table(curves: Sequence[Curve]) -> str:
    """Growth per doubling, in bold where it is more than linear beyond the quartiles."""
    rows = []
    for curve in curves:
        step, ours, least = curve.steepest, curve.ours, curve.least_ratio
        if step is None:
            growth = "never twice the time of the smallest size"
        else:
            bold = "" if curve.is_linear else "**"
            bounds = f"{units.rounded(step.low)} to {units.rounded(step.high)}"
            growth = f"{bold}{units.rounded(step.factor)}{bold} ({bounds}), {_plain(step.start)} to {_plain(step.stop)}"
        rows.append(
            [
                f"`{curve.op}`" + (f", {ours[0].who}" if ours[0].who != OURS else ""),
                curve.axis,
                ", ".join(map(_plain, curve.values)),
                f"{units.seconds(ours[0].median)} to {units.seconds(ours[-1].median)}",
                growth,
                f"{curve.slope:.2f}",
                f"{units.ratio(least[0])}, {least[1]} at {_plain(least[2])}" if least else "",
            ]
        )
    header = ["op", "axis", "sizes", "time", "largest growth per doubling", "slope at the end", "least ratio to a peer"]
    return table(header, rows)


def growth_verdict(curves: Sequence[Curve]) -> str:
    """How many curves are linear, and the names of the others."""
    others = [f"`{curve.op}` along {curve.axis}" for curve in curves if not curve.is_linear]
    linear = f"{len(curves) - len(others)} of {len(curves)} curves grow by at most {LINEAR} per doubling"
    return f"{linear}; more do {', '.join(others)}." if others else f"{linear}."


def memory_table(rows: Sequence[Row]) -> str:
    """Temporary memory by size, one column for each implementation."""
    names = list(dict.fromkeys(name for row in rows for name in row.extra["peak_bytes"]))
    lines = [
        [f"`{row.op}`, {row.axis} = {_plain(row.value)}"]
        + [units.size(row.extra["peak_bytes"][name]) if name in row.extra["peak_bytes"] else "" for name in names]
        for row in sorted(rows, key=lambda row: (row.op, row.axis, row.value))
    ]
    return table(["case", *names], lines)


def step_table(rows: Sequence[Row]) -> str:
    """Assignment and loss as a part of a training step."""
    lines = [
        [row.case if i == 0 else "", name, units.seconds(part["loss_ms"] / 1e3), f"{100 * part['share']:.1f} %"]
        for row in rows
        for i, (name, part) in enumerate(row.extra["shares"].items())
    ]
    return table(["case", "who", "assignment and loss", "share of the step"], lines)


def not_installed_table(result: Result) -> str:
    return table(["peer", "why it is not here"], [[name, why] for name, why in result.not_installed.items()])
