"""Charts against size: time of every op along each of its axes, and memory against the number of objects."""

import math
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.report import units
from benchmarks.report.growth import Curve
from benchmarks.report.results import OURS, Row
from benchmarks.report.style import WIDTH, Theme, add_axes, canvas, label_powers
from yolox_ops.explanation.picture import spread

COLUMNS = 4
PANEL = (1.5, 1.25)  # inches
PITCH = (WIDTH / COLUMNS, 1.95)
MEMORY_PITCH = 3.2
SIZES = ((1.0, ""), (1e3, "k"), (1e6, "M"))
AXES = {  # what the letters are
    "B": "images, B",
    "G": "objects an image, G",
    "N": "anchors, N",
    "C": "classes, C",
    "M": "rows, M",
}


def _limits(axes: Axes, xs: Sequence[float], ys: Sequence[float], width: float, height: float) -> None:
    """Log-log with as many inches a decade on both axes, so that a slope of 1 rises by 45 degrees everywhere."""
    spans = [math.log10(max(v) / min(v)) for v in (xs, ys)]
    per_inch = max(spans[0] / (0.88 * width), spans[1] / (0.88 * height))
    for values, inches, setter in ((xs, width, axes.set_xlim), (ys, height, axes.set_ylim)):
        middle = math.sqrt(min(values) * max(values))
        half = 10 ** (per_inch * inches / 2)
        setter(middle / half, middle * half)


def _panel(axes: Axes, theme: Theme, curve: Curve) -> None:
    xs, medians = curve.values, [m.median for m in curve.ours]
    floors = [(x, floor) for x, floor in zip(xs, curve.floors, strict=True) if floor is not None]
    peers: dict[str, list[tuple[float, float]]] = {}
    for x, measured in zip(xs, curve.peers, strict=True):
        for m in measured:
            peers.setdefault(m.who, []).append((x, m.median))
    ys = [*medians, *(floor for _, floor in floors), *(t for line in peers.values() for _, t in line)]
    axes.set(xscale="log", yscale="log")
    _limits(axes, xs, ys, *PANEL)
    axes.axline((xs[-1], medians[-1]), (xs[0], medians[-1] * xs[0] / xs[-1]), color=theme.muted, lw=1, ls=(0, (1, 2)))
    for line in peers.values():
        axes.plot(*zip(*line, strict=True), color=theme.peer, lw=1.2)
    if floors:
        axes.plot(*zip(*floors, strict=True), color=theme.floor, lw=1.5, ls="--")
    axes.vlines(xs, [m.q1 for m in curve.ours], [m.q3 for m in curve.ours], color=theme.ours, lw=3, alpha=0.5)
    axes.plot(xs, medians, "-o", color=theme.ours, lw=1.5, ms=3.5)
    label_powers(axes.xaxis, SIZES, most=4)
    label_powers(axes.yaxis, units.TIMES, most=5)
    name = curve.op + ("" if curve.ours[0].who == OURS else curve.ours[0].who.removeprefix(OURS))
    axes.set_title(name, loc="left", color=theme.text, fontsize=9, fontweight="bold", pad=5)
    axes.set_xlabel(AXES.get(curve.axis, curve.axis), color=theme.muted, fontsize=8, labelpad=1)


def growth_chart(theme: Theme, curves: Sequence[Curve]) -> Figure:
    """One panel for each op and axis."""
    rows = -(-len(curves) // COLUMNS)
    height = 0.8 + rows * PITCH[1]
    figure = canvas(theme, height, "Time of a call against size, logarithmic on both axes")
    key: dict[str, dict[str, Any]] = {
        "ours, with quartiles": {"color": theme.ours, "ls": "-", "marker": "o", "ms": 3.5},
        "floor": {"color": theme.floor, "ls": "--"},
        "slope 1: twice the size, twice the time": {"color": theme.muted, "ls": (0, (1, 2))},
    }
    if any(any(curve.peers) for curve in curves):
        key["peers"] = {"color": theme.peer, "ls": "-"}
    figure.legend(
        [Line2D([], [], lw=1.5, **style) for style in key.values()],
        list(key),
        loc="upper left",
        bbox_to_anchor=(0, 1 - 0.3 / height),
        ncols=len(key),
        frameon=False,
        labelcolor=theme.text,
    )
    for i, curve in enumerate(curves):
        row, column = divmod(i, COLUMNS)
        _panel(add_axes(figure, theme, 0.55 + column * PITCH[0], 0.95 + row * PITCH[1], *PANEL), theme, curve)
    return figure


def memory_chart(theme: Theme, rows: Sequence[Row]) -> Figure:
    """One panel below the other for each op and axis; every line has its name at its end."""
    panels: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.value):
        panels.setdefault((row.op, row.axis), []).append(row)
    figure = canvas(theme, 0.4 + MEMORY_PITCH * len(panels), "Temporary memory of a call, logarithmic on both axes")
    for i, ((op, axis), points) in enumerate(panels.items()):
        axes = add_axes(figure, theme, 0.7, 0.75 + MEMORY_PITCH * i, 5.2, MEMORY_PITCH - 0.85)
        axes.set(xscale="log", yscale="log")
        names = list(dict.fromkeys(name for row in points for name in row.extra["peak_bytes"]))
        colors = dict(zip((name for name in names if not name.startswith(OURS)), cycle(theme.others), strict=False))
        ends = []
        for name in names:
            line = [(row.value, row.extra["peak_bytes"][name]) for row in points if name in row.extra["peak_bytes"]]
            color = colors.get(name, theme.ours)
            axes.plot(*zip(*line, strict=True), "-o", color=color, lw=2, ms=4)
            ends.append((line[-1], f"{name}: {units.size(line[-1][1])}", color))
        label_powers(axes.xaxis, SIZES, most=8)
        label_powers(axes.yaxis, units.BYTES, most=8)
        axes.set_title(op, loc="left", color=theme.text, fontsize=9, fontweight="bold")
        axes.set_xlabel(AXES.get(axis, axis), color=theme.muted, fontsize=8)
        _name_ends(axes, MEMORY_PITCH - 0.85, ends)
    return figure


def _name_ends(axes: Axes, inches: float, ends: Sequence[tuple[tuple[float, float], str, str]]) -> None:
    """Names right of the lines' ends, moved apart where those are close. `inches`: the height of the axes."""
    to_axes = axes.transScale + axes.transLimits
    heights = {name: float(to_axes.transform(end)[1]) for end, name, _ in ends}
    ascending = sorted(ends, key=lambda end: heights[end[1]])
    for y, (_, name, color) in zip(
        spread([heights[n] for _, n, _ in ascending], 0.17 / inches, 0, 1), ascending, strict=True
    ):
        axes.text(1.01, y, name, transform=axes.transAxes, color=color, fontweight="bold", va="center")
