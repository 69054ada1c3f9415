"""The results of a comparison as a picture."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from yolox_ops._files import written_whole
from yolox_ops.explanation.palette import COLORS
from yolox_ops.trainer.compare.result import Result
from yolox_ops.trainer.compare.tables import by_assigner

# Told apart by shape too.
STYLES = {
    "simota": (COLORS[4], "o", "-"),
    "ota": (COLORS[5], "s", "--"),
    "center": (COLORS[2], "^", ":"),
    "multi-positive": (COLORS[6], "D", "-."),
}


def draw_comparison(folder: Path, results: Sequence[Result]) -> Path:
    """Draws AP, positives per ground truth over epochs, and the assigners' shares of a step into assigners.png."""
    figure = Figure(figsize=(13, 3.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    precision, positives, share = figure.subplots(1, 3)
    runs = by_assigner(results)
    for row, (name, mine) in enumerate(runs.items()):
        color, marker, line = STYLES[name]
        mean = statistics.mean(r.ap for r in mine)
        precision.hlines(mean, row - 0.3, row + 0.3, color=color, lw=2)
        # Side by side, in the order of the seeds, so that equal ones are seen.
        across = [row + 0.4 * ((i + 0.5) / len(mine) - 0.5) for i in range(len(mine))]
        precision.plot(across, [r.ap for r in mine], ls="", marker=marker, color=color, mec="black", mew=0.5)

        over_epochs = list(zip(*(r.positives_per_gt for r in mine), strict=True))
        time = range(1, len(over_epochs) + 1)
        positives.plot(time, list(map(statistics.mean, over_epochs)), color=color, marker=marker, ls=line, label=name)
        positives.fill_between(time, list(map(min, over_epochs)), list(map(max, over_epochs)), color=color, alpha=0.2)

        part = 100 * statistics.median(r.share for r in mine)
        share.barh(row, part, color=color)
        took = statistics.median(r.assignment_ms for r in mine)
        share.annotate(f"{part:.2g} %, {took:.2g} ms", (part, row), (4, 0), textcoords="offset points", va="center")
    precision.set(title="AP: each seed, and their mean", xticks=range(len(runs)), xticklabels=runs, xmargin=0.1)
    positives.set(title="positive anchors per ground truth", xlabel="epoch", ylim=(0, None))
    positives.xaxis.get_major_locator().set_params(integer=True)
    positives.legend(frameon=False)
    share.set(title="share of a step, and an assignment's time", xlabel="%", yticks=range(len(runs)), yticklabels=runs)
    share.set(xlim=(0, 1.45 * share.get_xlim()[1]))  # room for the words
    share.invert_yaxis()
    for axes, along in ((precision, "y"), (positives, "both"), (share, "x")):
        axes.grid(alpha=0.3, axis=along)
        axes.set_axisbelow(True)
    path = folder / "assigners.png"
    with written_whole(path) as temporary:
        figure.savefig(temporary)
    return path
