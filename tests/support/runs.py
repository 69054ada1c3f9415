"""Tiny training runs: in this process, or as a user starts them."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from yolox_ops.trainer.data.digits import Digits
from yolox_ops.trainer.train.ranks import Ranks
from yolox_ops.trainer.train.recipe import Recipe
from yolox_ops.trainer.train.state import last_saved
from yolox_ops.trainer.train.trainer import Trainer

ROOT = Path(__file__).parents[2]
# Three epochs of four steps, the last without mosaic; the words and the recipe are the same run.
WORDS = (
    *("--data", "digits", "--model", "yolox_nano", "--size", "64", "--count", "16", "--val-count", "4"),
    *("--epochs", "3", "--batch", "4", "--warmup-epochs", "1", "--no-aug-epochs", "1", "--eval-every", "2"),
    *("--lr", "0.02", "--seed", "3"),
)
RECIPE = Recipe(
    "yolox_nano", 64, 64, epochs=3, batch=4, warmup_epochs=1, no_aug_epochs=1, eval_every=2, lr=0.02, seed=3, flip=0.0
)


def trainer(
    folder: Path, recipe: Recipe = RECIPE, ranks: Ranks | None = None, *, resume: bool = False, **options
) -> Trainer:
    """One for `RECIPE`'s data, in this process, which is alone unless `ranks` says otherwise."""
    size = {"height": recipe.height, "width": recipe.width}
    train, val = Digits("train", images=16, **size), Digits("val", images=4, **size)
    ranks = ranks or Ranks(0, 1, torch.device("cpu"))
    saved = last_saved(folder) if resume else None
    return Trainer(recipe, train, val, folder, ranks=ranks, workers=0, resume=saved, **options)


def train(folder: Path, *words: str, ranks: int = 0, **options) -> subprocess.Popen:
    """Starts `yolox-ops train`, by torchrun if there are ranks; one thread, unless the caller's environment names more:
    every sum has one order."""
    start = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}") if ranks else ()
    command = (sys.executable, *start, "-m", "yolox_ops", "train", "--no-progress", *words)
    path = os.pathsep.join(map(str, [Path(p).resolve() for p in sys.path if p]))
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, cwd=folder, env=environment, **options)


def checkpoint(folder: Path, name: str = "last.pt") -> dict:
    return torch.load(folder / name, weights_only=True)


def equal(one, two):
    """Whether two checkpoints hold the same bits."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(equal, one, two))
    return torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two
