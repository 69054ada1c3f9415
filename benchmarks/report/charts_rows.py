"""Charts of one row an implementation: times beside peers, README's chart, shares of a training step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import units
from benchmarks.report.results import OURS, Case, Row, ops_of
from benchmarks.report.style import Theme, add_axes, canvas, label_powers

NAMES = 2.75  # inches left of the axes
PLOT = 4.3
GAP = 0.4  # rows between groups


@dataclass(frozen=True)
class Line:
    name: str
    value: float
    is_ours: bool
    words: tuple[str, ...]

    def text(self, theme: Theme) -> dict[str, Any]:
        """How its name and words are written."""
        color, weight = (theme.ours, "bold") if self.is_ours else (theme.text, "normal")
        return {"color": color, "fontweight": weight, "va": "center"}


@dataclass(frozen=True)
class Group:
    head: str
    lines: Sequence[Line]


def _height(groups: Sequence[Group]) -> float:
    """In rows."""
    return sum(len(group.lines) + bool(group.head) for group in groups) + GAP * (len(groups) - 1)


def _label(axes: Axes, theme: Theme, groups: Sequence[Group]) -> list[tuple[float, Group]]:
    """Writes heads and names, and gives every group with the height of its first line in the axes."""
    across = axes.get_yaxis_transform()
    y, placed = 0.0, []
    for group in groups:
        if group.head:
            style: dict[str, Any] = {"color": theme.text, "fontweight": "bold", "va": "center"}
            axes.text(-NAMES / PLOT, y, group.head, transform=across, **style)
            y += 1
        placed.append((y, group))
        for line in group.lines:
            axes.text(-0.02, y, line.name, transform=across, ha="right", **line.text(theme))
            y += 1
        y += GAP
    axes.set(ylim=(y - GAP - 0.5, -0.5), yticks=[])
    return placed


def peers_chart(theme: Theme, cases: Sequence[Case]) -> Figure:
    """The first case of every op: a dot for each time, and a line from ours to it, which is the ratio."""
    groups = []
    for case in (next(case for case in cases if case.op == op) for op in ops_of(cases)):
        measured = sorted(case.measured, key=lambda m: (not m.is_ours, m.median))
        ratios = ["" if m is measured[0] else units.ratio(m.median / measured[0].median) for m in measured]
        lines = [
            Line(m.who, m.median, m.is_ours, (units.seconds(m.median), ratio))
            for m, ratio in zip(measured, ratios, strict=True)
        ]
        groups.append(Group(f"{case.op}: {case.case}", lines))
    inches = 0.215 * _height(groups)
    note = "The first case of every op. A line from ours to a peer is as long as their ratio; the scale is logarithmic."
    figure = canvas(theme, inches + 1.35, "Time of a call beside the peers", note)
    axes = add_axes(figure, theme, NAMES + 0.1, 0.85, PLOT, inches)
    across = axes.get_yaxis_transform()
    placed = _label(axes, theme, groups)
    values = [line.value for group in groups for line in group.lines]
    axes.set(xscale="log", xlim=(min(values) / 1.5, max(values) * 1.5))
    axes.grid(visible=False)
    label_powers(axes.xaxis, units.TIMES, most=8)
    for top, group in placed:
        axes.vlines(axes.get_xticks(), top - 0.5, top + len(group.lines) - 0.5, color=theme.grid, lw=0.8, zorder=0)
        for y, line in enumerate(group.lines):
            if not line.is_ours:
                axes.plot([group.lines[0].value, line.value], [top + y] * 2, color=theme.peer, lw=1.2)
            size, color = (6.5, theme.ours) if line.is_ours else (5, theme.peer)
            axes.plot(line.value, top + y, "o", color=color, ms=size)
            for x, word in zip((1.17, 1.32), line.words, strict=True):
                axes.text(x, top + y, word, transform=across, ha="right", **line.text(theme))
    for x, word in ((1.17, "median"), (1.32, "ratio")):
        axes.text(x, -0.9, word, transform=across, color=theme.muted, fontsize=8, ha="right")
    axes.set_xlabel("time of a call", color=theme.muted, fontsize=8)
    return figure


def _bars(axes: Axes, theme: Theme, groups: Sequence[Group]) -> None:
    """Bars from zero, with their words at their ends; no scale, for every bar says its value."""
    for top, group in _label(axes, theme, groups):
        for y, line in enumerate(group.lines):
            axes.barh(top + y, line.value, 0.66, color=theme.ours if line.is_ours else theme.peer)
            end = line.value, top + y
            axes.annotate(line.words[0], end, (5, 0), textcoords="offset points", **line.text(theme))
    axes.set(xticks=[], xlim=(0, 1.01 * max(line.value for group in groups for line in group.lines)))
    axes.axvline(0, color=theme.muted, lw=1)


def readme_chart(theme: Theme, case: Case, where: str) -> Figure:
    """One case, the shortest time first, as bars from zero, all in one unit: what a reader takes in at a glance."""
    measured = sorted(case.measured, key=lambda m: m.median)
    middle = math.sqrt(measured[0].median * measured[-1].median)
    lines = []
    for m in measured:
        ratio = "" if m.is_ours else f"  ({units.ratio(m.median / case.ours.median)})"
        lines.append(Line(m.who, m.median, m.is_ours, (units.seconds(m.median, middle) + ratio,)))
    inches = 0.31 * len(lines)
    title = "Label assignment of a training batch: time of a call, shorter is better"
    figure = canvas(theme, inches + 0.85, title, f"{case.op}, {case.case}; {where}")
    _bars(add_axes(figure, theme, NAMES + 0.1, 0.7, PLOT, inches), theme, [Group("", lines)])
    return figure


def step_chart(theme: Theme, rows: Sequence[Row]) -> Figure:
    """Percent of a training step that assignment and loss take."""
    groups = []
    for row in rows:
        lines = []
        for name, part in row.extra["shares"].items():
            words = f"{100 * part['share']:.1f} %, {units.seconds(part['loss_ms'] / 1e3)}"
            lines.append(Line(name, part["share"], name.startswith(OURS), (words,)))
        groups.append(Group(row.case, lines))
    inches = 0.26 * _height(groups)
    title = "Assignment and loss: percent of a training step's time, shorter is better"
    figure = canvas(theme, inches + 0.6, title)
    _bars(add_axes(figure, theme, NAMES + 0.1, 0.45, PLOT, inches), theme, groups)
    return figure
