"""The runs of a comparison: one training for each seed and assigner."""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch

from yolox_ops._files import BadFile, held, read_regular, written_whole
from yolox_ops.trainer.compare.plot import draw_comparison
from yolox_ops.trainer.compare.result import Result
from yolox_ops.trainer.compare.settings import Settings, machine
from yolox_ops.trainer.compare.tables import write_tables
from yolox_ops.trainer.data.digits import Digits
from yolox_ops.trainer.options import told
from yolox_ops.trainer.train.log import read
from yolox_ops.trainer.train.ranks import Ranks
from yolox_ops.trainer.train.recipe import Recipe, digits_recipe
from yolox_ops.trainer.train.state import LAST, PREVIOUS
from yolox_ops.trainer.train.trainer import Trainer
from yolox_ops.trainer.train.watch import Watched
from yolox_ops.yolox.assigners import ASSIGNERS


def run(args: argparse.Namespace) -> int:
    """Trains what is not yet in the folder, seed by seed, and writes the tables and the picture."""
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    assigners, seeds = list(dict.fromkeys(args.assigners)), list(dict.fromkeys(args.seeds))
    height, width = args.size
    settings = Settings(
        epochs=args.epochs,
        count=args.count,
        val_count=args.val_count,
        size=f"{height}x{width}",
        model=args.model,
        batch=args.batch,
        lr=args.lr,
        device=args.device,
        workers=args.workers,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        machine=machine(device),
    )
    # All assigners of a seed one after the other, so that the machine's moods spread over them.
    with told():
        runs = [Run.of(settings, assigner, seed) for seed in seeds for assigner in assigners]
        settings.hold(args.out / "settings.json")
    results = []
    for number, one in enumerate(runs, 1):
        results.append(one.result(args.out / "runs", device, settings.workers, progress=args.progress))
        print(f"{number} of {len(runs)}: {results[-1]}", flush=True)
    results.sort(key=lambda result: assigners.index(result.assigner))
    text = write_tables(args.out, results, settings, settings.command(assigners, seeds))
    print(f"\n{text}\nwrote assigners.md, assigners.csv, epochs.csv and {draw_comparison(args.out, results).name}")
    return 0


class Run(NamedTuple):
    """One training of the comparison."""

    recipe: Recipe
    train: Digits
    val: Digits

    @classmethod
    def of(cls, settings: Settings, assigner: str, seed: int) -> "Run":
        """As the demo trains, with whose seed come the same images."""
        height, width = settings.sides
        size = {"height": height, "width": width}
        recipe = digits_recipe(
            epochs=settings.epochs,
            seed=seed,
            model=settings.model,
            batch=settings.batch,
            lr=settings.lr,
            assigner=assigner,
            **size,
        )
        train = Digits("train", images=settings.count, seed=seed, **size)
        return cls(recipe, train, Digits("val", images=settings.val_count, seed=seed, **size))

    def result(self, folder: Path, device: torch.device, workers: int, *, progress: bool) -> Result:
        """What is kept of the run in `folder`, or what training it gives. A run that was cut short begins anew."""
        folder /= f"{self.recipe.assigner}-{self.recipe.seed}"
        with held(folder):
            path = folder / "result.json"
            return read_result(path) if path.exists() else self.trained(path, device, workers, progress=progress)

    def trained(self, path: Path, device: torch.device, workers: int, *, progress: bool) -> Result:
        """Writes the result that it returns to `path`, in the run's folder."""
        folder = path.parent
        watched = Watched(ASSIGNERS[self.recipe.assigner])
        alone = Ranks(0, 1, device)
        trainer = Trainer(self.recipe, self.train, self.val, folder, ranks=alone, workers=workers, assigner=watched)
        start = time.perf_counter()
        trainer.run(progress=progress)
        seconds = time.perf_counter() - start
        evaluated = {int(row["epoch"]): row for row in read(folder / "epochs.csv")}
        epochs = range(1, self.recipe.epochs + 1)
        result = Result(
            assigner=self.recipe.assigner,
            seed=self.recipe.seed,
            ap=evaluated[epochs[-1]]["AP"],
            ap50=evaluated[epochs[-1]]["AP50"],
            assignment_ms=1e3 * statistics.median(watched.seconds),
            step_ms=1e3 * statistics.median(row["seconds_per_step"] for row in read(folder / "steps.csv")),
            seconds=seconds,
            epoch_ap=[evaluated[epoch]["AP"] if epoch in evaluated else None for epoch in epochs],
            epoch_ap50=[evaluated[epoch]["AP50"] if epoch in evaluated else None for epoch in epochs],
            positives_per_gt=watched.positives_per_gt(len(epochs)),
        )
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(result._asdict(), indent=2) + "\n")
        for name in (LAST, PREVIOUS):  # the larger part of what a run leaves, which nothing goes on from
            (folder / name).unlink(missing_ok=True)
        return result


def read_result(path: Path) -> Result:
    """Raises BadFile if the file is none of `Run.result`."""
    try:
        found = Result(**json.loads(read_regular(path)))
        str(found)  # of whose numbers some are told at once
    except (IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise BadFile(f"{path} must be the result of a run, without which it is trained anew, got {error}") from error
    return found
