"""The curves of a run, from its CSV files."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from yolox_ops._files import written_whole
from yolox_ops.explanation.palette import COLORS
from yolox_ops.trainer.train.log import read

LOSSES = dict(zip(("box", "obj", "cls", "l1"), (COLORS[0], COLORS[1], COLORS[2], COLORS[6]), strict=True))
APS = dict(zip(("AP50", "AP", "AP75"), (COLORS[1], COLORS[5], COLORS[2]), strict=True))


def draw_curves(folder: Path) -> Path:
    """Draws losses, AP and positives per ground truth over epochs into curves.png of the run's folder."""
    steps, epochs = read(folder / "steps.csv"), read(folder / "epochs.csv")
    figure = Figure(figsize=(12, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    losses, precision, positives = figure.subplots(1, 3)
    time = [row["epoch"] for row in steps]
    for name, color in LOSSES.items():
        values = [row[name] for row in steps]
        if any(values):
            losses.plot(time, values, color=color, label=name, lw=1.4)
    losses.set(title="losses", yscale="log")
    for name, color in APS.items():
        precision.plot([r["epoch"] for r in epochs], [r[name] for r in epochs], "o-", color=color, label=name, ms=3)
    precision.set(title="average precision of the averaged weights", ylim=(0, 1))
    positives.plot(time, [row["positives_per_gt"] for row in steps], color=COLORS[4], lw=1.4)
    positives.set(title="positive anchors per ground truth", ylim=(0, None))
    for axes in (losses, precision, positives):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    for axes in (losses, precision):
        if axes.lines:
            axes.legend(frameon=False)
    path = folder / "curves.png"
    with written_whole(path) as temporary:
        figure.savefig(temporary)
    return path
