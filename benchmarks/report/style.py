"""How the charts look: light and dark without background, text that stays text, equal bytes from equal results."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from yolox_ops.explanation.palette import COLORS

WIDTH = 8.6  # inches of 72 points; 826 pixels, the width of a README


@dataclass(frozen=True)
class Theme:
    name: str
    text: str
    muted: str  # second-rank text
    peer: str  # what is not ours, where all peers are alike
    grid: str
    ours: str
    floor: str
    others: tuple[str, ...]  # peers, where each has a colour of its own


THEMES = (
    Theme("light", "#1F2328", "#59636E", "#8C959F", "#D9DEE3", COLORS[4], COLORS[5], (COLORS[5], COLORS[2], COLORS[6])),
    Theme("dark", "#E6EDF3", "#9DA7B1", "#7D8590", "#30363D", COLORS[1], COLORS[0], (COLORS[0], COLORS[2], COLORS[6])),
)


@contextmanager
def settings() -> Iterator[None]:
    """DejaVu comes with matplotlib; a browser without it takes Verdana, which is as wide."""
    with matplotlib.rc_context(
        {
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans", "Verdana"],
            "font.size": 9,
            "svg.fonttype": "none",
            "svg.hashsalt": "yolox_ops",
        }
    ):
        yield


def canvas(theme: Theme, height: float, title: str, note: str = "") -> Figure:
    """A figure of `height` inches that says at its top what is to be seen."""
    figure = Figure(figsize=(WIDTH, height), facecolor="none")
    figure.text(0.1 / WIDTH, 1 - 0.22 / height, title, color=theme.text, fontsize=11, fontweight="bold", va="center")
    if note:
        figure.text(0.1 / WIDTH, 1 - 0.46 / height, note, color=theme.muted, va="center")
    return figure


def add_axes(figure: Figure, theme: Theme, left: float, top: float, width: float, height: float) -> Axes:
    """Axes by inches from the figure's left and top edge, with a grid and without a frame."""
    total = figure.get_figheight()
    axes = figure.add_axes((left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total), facecolor="none")
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=theme.muted, length=0, labelsize=8)
    axes.grid(color=theme.grid, lw=0.8)
    axes.set_axisbelow(True)
    return axes


def label_powers(axis: Axis, units: Sequence[tuple[float, str]], most: int) -> None:
    """Ticks of a logarithmic axis at powers of 10 in words as "10 us"; every second or third where there are more than
    `most`, and those between them where there is one or none."""
    low, high = axis.get_view_interval()

    def ticks(steps: Sequence[int]) -> list[tuple[float, str]]:
        every = [(unit * step, f"{step}{name}") for unit, name in units for step in steps]
        return [(value, words) for value, words in every if low <= value <= high]

    seen = ticks((1, 10, 100))
    if len(seen) < 2:
        seen = ticks((1, 2, 5, 10, 20, 50, 100, 200, 500))
    seen = seen[:: -(-len(seen) // most)]
    axis.set_major_locator(FixedLocator([value for value, _ in seen]))
    axis.set_major_formatter(FixedFormatter([words for _, words in seen]))
    axis.set_minor_locator(NullLocator())


def save(figure: Figure, path: Path) -> Path:
    """As SVG, without a date."""
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None}, facecolor="none")
    return path
