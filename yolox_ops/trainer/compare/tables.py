"""The results of a comparison as CSV and Markdown."""

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path

from yolox_ops._files import written_whole
from yolox_ops.trainer.compare.result import Result
from yolox_ops.trainer.compare.settings import Settings
from yolox_ops.trainer.train.log import shown

RUN_COLUMNS = (
    *("assigner", "seed", "AP", "AP50", "positives_per_gt_first", "positives_per_gt_last"),
    *("ms_per_assignment", "ms_per_step", "share_of_step", "seconds"),
)
EPOCH_COLUMNS = ("assigner", "seed", "epoch", "AP", "AP50", "positives_per_gt")
HEAD = ("assigner", "AP", "AP50", "positives per gt", "ms per assignment", "share of the step")
NOTE = """\
AP and AP50 at the end of the last epoch: the mean over the seeds, and in brackets the lowest and the highest AP.
Positives per gt: all positives of an epoch by all its ground truths, in the first and in the last epoch, means over the
seeds. Times: the median of a run's calls, and of its steps as steps.csv has them, which are means of ten; of those the
median over the seeds. A step is all from one to the next, the making of the batch included. simota and ota are kernels,
the others plain tensor operations."""


def by_assigner(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The runs of each assigner, in the order of their first ones."""
    return {name: [r for r in results if r.assigner == name] for name in dict.fromkeys(r.assigner for r in results)}


def write_tables(folder: Path, results: Sequence[Result], settings: Settings, command: str) -> str:
    """Writes assigners.csv, a row a run; epochs.csv, a row a run and epoch, AP empty where there was no evaluation; and
    assigners.md, a row an assigner, whose table is returned."""
    runs, epochs = [], []
    for r in results:
        ends = r.positives_per_gt[0], r.positives_per_gt[-1]
        numbers = (r.ap, r.ap50, *ends, r.assignment_ms, r.step_ms, r.share, r.seconds)
        runs.append([r.assigner, r.seed, *map(shown, numbers)])
        for epoch, row in enumerate(zip(r.epoch_ap, r.epoch_ap50, r.positives_per_gt, strict=True), 1):
            epochs.append([r.assigner, r.seed, epoch, *("" if value is None else shown(value) for value in row)])
    for name, columns, rows in (("assigners.csv", RUN_COLUMNS, runs), ("epochs.csv", EPOCH_COLUMNS, epochs)):
        with written_whole(folder / name) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
    table = markdown([HEAD, *([name, *cells(mine)] for name, mine in by_assigner(results).items())])
    seeds = ", ".join(map(str, dict.fromkeys(r.seed for r in results)))
    where = f"torch {settings.torch}, {settings.machine}, {settings.threads} threads; seeds {seeds}."
    with written_whole(folder / "assigners.md") as temporary:
        temporary.write_text(f"{table}\n\n{NOTE}\n\n```\n{command}\n```\n\n{where}\n")
    return table


def cells(runs: Sequence[Result]) -> list[str]:
    """The columns of one assigner."""
    ap = [r.ap for r in runs]
    first, last = (statistics.mean(r.positives_per_gt[epoch] for r in runs) for epoch in (0, -1))
    return [
        f"{statistics.mean(ap):.3f} ({min(ap):.3f} to {max(ap):.3f})",
        f"{statistics.mean(r.ap50 for r in runs):.3f}",
        f"{first:.2f} → {last:.2f}",
        f"{statistics.median(r.assignment_ms for r in runs):.3g}",
        f"{statistics.median(r.share for r in runs):.2%}",
    ]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]])
