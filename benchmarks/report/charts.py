"""All charts of the results, each in a light and a dark SVG."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.report.charts_growth import growth_chart, memory_chart
from benchmarks.report.charts_rows import peers_chart, readme_chart, step_chart
from benchmarks.report.document import machine
from benchmarks.report.growth import curves
from benchmarks.report.readme import chart_case
from benchmarks.report.results import Result
from benchmarks.report.style import THEMES, Theme, save, settings


def charts_of(result: Result) -> Iterator[tuple[str, Callable[[Theme], Figure]]]:
    """The name of each chart that the result has something for, and what draws it."""
    if cases := result.cases():
        yield "peers", lambda theme: peers_chart(theme, cases)
    if found := curves(result):
        yield "growth", lambda theme: growth_chart(theme, found)
    if memory := result.of("memory"):
        yield "memory", lambda theme: memory_chart(theme, memory)
    if step := result.of("step"):
        yield "step", lambda theme: step_chart(theme, step)
    if not result.gpu:
        yield "readme", lambda theme: readme_chart(theme, chart_case(result), machine(result))


def draw_all(results: Sequence[Result], folder: Path) -> list[Path]:
    """Draws into `folder`, and removes the charts of other results from it."""
    folder.mkdir(parents=True, exist_ok=True)
    with settings():
        drawn = [
            save(draw(theme), folder / f"{result.name}-{name}-{theme.name}.svg")
            for result in results
            for name, draw in charts_of(result)
            for theme in THEMES
        ]
    for path in set(folder.glob("*.svg")) - set(drawn):
        path.unlink()
    return drawn
