"""What a run says of itself: CSV files, TensorBoard where it is installed, and curves at the end."""

import csv
import importlib.util
import math
import os
from collections.abc import Sequence
from pathlib import Path

from yolox_ops._arguments import short_repr
from yolox_ops._files import BadFile, naming, read_regular, written_whole

STEP_COLUMNS = (
    *("step", "epoch", "lr", "total", "box", "obj", "cls", "l1", "positives_per_gt", "seconds_per_step"),
    "skipped",  # steps since the last row, in whose means they are not
)
LARGEST = 1e39  # beyond float32
EPOCH_COLUMNS = ("step", "epoch", "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")


class Table:
    """A CSV file that grows by rows. The first column is the number of steps done.

    Opened at a step, it forgets rows beyond it: they come again when a run is resumed from an older checkpoint.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int) -> None:
        self.path, self.columns = path, columns
        kept = [row for row in read(path) if row["step"] <= step] if path.exists() else []
        with written_whole(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([[shown(row.get(name, 0)) for name in columns] for row in kept])  # older runs skipped none

    def add(self, *row: float) -> None:
        with naming(self.path), self.path.open("a", newline="") as file:
            csv.writer(file).writerow(map(shown, row))


def shown(value: float) -> str:
    return format(value, ".9g")


def read(path: Path) -> list[dict[str, float]]:
    """The rows of a table. A last line without an end, cut off with the process that wrote it, is none.

    Raises:
        BadFile: it is no table of numbers under names, the first of them "step". OSError: it cannot be read.
    """
    try:
        text = read_regular(path).decode(errors="replace")  # what is no letter is no number either
    except ValueError as error:
        raise BadFile(f"{path}: {error}") from error
    table = csv.reader(text[: text.rfind("\n") + 1].splitlines())
    try:
        names = next(table, [])
        if names[:1] != ["step"]:
            raise ValueError(f"{short_repr(names)} for the names of columns")
        return [dict(zip(names, map(number, row), strict=True)) for row in table]
    except (ValueError, csv.Error) as error:
        raise BadFile(
            f"{path} must be a table of a run, step first, got in line {table.line_num or 1}: {error}"
        ) from error


def number(text: str) -> float:
    """What a run can have written: its numbers are float32's, or count steps."""
    value = float(text)
    if LARGEST < abs(value) < math.inf:
        raise ValueError(f"{text} is out of range")
    return value


class Log:
    """steps.csv and epochs.csv in the run's folder, and the same numbers for TensorBoard.

    Opened by a run that goes on from `step`, and was evaluated at step `evaluated` last.
    """

    def __init__(self, folder: Path, step: int, evaluated: int) -> None:
        self.steps = Table(folder / "steps.csv", STEP_COLUMNS, step)
        self.epochs = Table(folder / "epochs.csv", EPOCH_COLUMNS, evaluated)
        self.board = None
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self.folder = folder / "tensorboard"
            # TensorBoard writes through a link.
            if os.path.lexists(self.folder) and (self.folder.is_symlink() or not self.folder.is_dir()):
                raise BadFile(f"{self.folder} must be a folder of this run's, got a link or a file")
            self.board = SummaryWriter(str(self.folder), purge_step=step + 1)

    def add(self, table: Table, *row: float) -> None:
        table.add(*row)
        if self.board is not None:
            with naming(self.folder):
                for name, value in zip(table.columns[1:], row[1:], strict=True):
                    self.board.add_scalar(f"{table.path.stem}/{name}", value, int(row[0]))

    def close(self) -> None:
        if self.board is not None:
            with naming(self.folder):
                self.board.close()
