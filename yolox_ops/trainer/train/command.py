"""`yolox-ops train`: from the words of the command line to a run."""

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import distributed as dist

from yolox_ops._arguments import short_repr
from yolox_ops._files import held
from yolox_ops.trainer.data.open import open_dataset
from yolox_ops.trainer.options import told
from yolox_ops.trainer.train.plots import draw_curves
from yolox_ops.trainer.train.ranks import Ranks, joined, who
from yolox_ops.trainer.train.recipe import Recipe
from yolox_ops.trainer.train.state import LAST, PREVIOUS, Saved, last_saved
from yolox_ops.trainer.train.trainer import Trainer
from yolox_ops.yolox.checkpoint import load_checkpoint
from yolox_ops.yolox.model import input_size

DATA = {
    "data": "digits",
    "images": None,
    "val_data": None,
    "val_images": None,
    "on_bad": "skip",
    "count": 2000,
    "val_count": 400,
}
HERE = ("device", "workers", "save_every", "progress", "max_nan_steps")  # of this start, not of the run
FULL = "a step must fit into memory; --batch and --size say how large it is"
# What is in the errors of torch, most of which have no type of their own.
FATES = {
    "DataLoader worker": "a process that makes batches has died",
    "gloo": "another process of the run has ended, or cannot be reached",
    "out of memory": FULL,  # a GPU's
    "can't allocate memory": FULL,
}


def run(args: argparse.Namespace) -> int:
    """Trains, or goes on training, and draws the curves. `args` holds what was given and nothing else.

    What ends a run from outside (a full disk, a process of it killed, ctrl-C, losses that stay NaN) ends the command
    with a line that says so, and how to go on.
    """
    given = dict(vars(args))
    del given["run"]
    here = {name: given.pop(name) for name in HERE}
    progress = here.pop("progress")
    folder = given.get("resume") or given.get("out", Path("run"))
    with ended(folder), ExitStack() as stack:
        with told():
            ranks = stack.enter_context(joined(here.pop("device")))
        if ranks.first:
            stack.enter_context(held(folder))
        with told():
            trainer = resumed(given, ranks, here) if given.get("resume") else begun(given, ranks, here)
        trainer.run(progress=progress)
        if ranks.first:
            print(f"wrote {draw_curves(folder)}")
    return 0


@contextmanager
def ended(folder: Path) -> Iterator[None]:
    try:
        yield
    except FloatingPointError as error:  # which going on would meet again
        raise SystemExit(f"yolox-ops: {error}") from error
    except BlockingIOError as error:
        if error.filename is None:  # an output that takes no more, and not the folder's lock
            raise
        way = "wait for it, or take another folder"
        raise SystemExit(f"yolox-ops: another process trains in {error.filename}: {way}") from error
    except (OSError, dist.DistError) as error:
        raise SystemExit(f"yolox-ops: {error}\n{way_on(folder)}") from error
    except MemoryError as error:
        raise SystemExit(f"yolox-ops: {who()}out of memory: {error}\n{way_on(folder)}") from error
    except RuntimeError as error:
        for words, fate in FATES.items():
            if words in str(error):
                raise SystemExit(f"yolox-ops: {who()}{fate}: {error}\n{way_on(folder)}") from error
        raise
    except KeyboardInterrupt as error:
        raise SystemExit(f"yolox-ops: interrupted\n{way_on(folder)}") from error


def way_on(folder: Path) -> str:
    return f"--resume {folder} goes on from the last checkpoint" if saved(folder) else f"{folder} has no checkpoint yet"


def saved(folder: Path) -> bool:
    return os.path.lexists(folder / LAST) or os.path.lexists(folder / PREVIOUS)  # a link to nowhere, too, was a run


def begun(given: dict[str, Any], ranks: Ranks, here: dict[str, Any]) -> Trainer:
    """A new run in a folder that has none."""
    folder = Path(given.pop("out", "run"))
    if saved(folder):
        raise SystemExit(f"{folder} holds a run: --resume {folder} goes on with it, --out names another folder")
    data = DATA | {name: given.pop(name) for name in DATA if name in given}
    start = given.pop("weights", None)
    recipe = recipe_of(given, digits=data["data"] == "digits")
    trainer = trainer_of(recipe, data, folder, ranks, here)
    if start is not None:
        left = load_checkpoint(start, trainer.learner.model, replace_classes=True)
        if ranks.first and left:
            print(f"{start} is of other classes: {', '.join(left)} start anew")
    return trainer


def resumed(given: dict[str, Any], ranks: Ranks, here: dict[str, Any]) -> Trainer:
    """A run as its checkpoint has it."""
    folder = Path(given.pop("resume"))
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise SystemExit(f"--resume takes the run as it was begun, without {options}")
    if not saved(folder):
        raise SystemExit(f"{folder} holds no last.pt to go on from")
    last = last_saved(folder)
    return trainer_of(last.recipe, data_of(last), folder, ranks, here, resume=last)


def data_of(saved: Saved) -> dict[str, Any]:
    """What a checkpoint says of its data, in the words of the command line."""
    about = saved.content["about"]
    data = {name: about.get(name, default) for name, default in DATA.items()}
    for name, value in data.items():
        kind = int if name in ("count", "val_count") else str
        if type(value) is not kind and (value is not None or DATA[name] is not None):
            raise ValueError(
                f"{name} of the data in {saved.path} must be of type {kind.__name__}, got {short_repr(value)}"
            )
    return data


def trainer_of(
    recipe: Recipe,
    data: dict[str, Any],
    folder: Path,
    ranks: Ranks,
    here: dict[str, Any],
    resume: Saved | None = None,
) -> Trainer:
    size: dict[str, Any] = {"height": recipe.height, "width": recipe.width}
    if data["data"] != "digits" and data["val_data"] is None:
        raise SystemExit("--val-data must name the JSON file to evaluate on")
    train = open_dataset(
        data["data"], data["images"], split="train", on_bad=data["on_bad"], count=data["count"], **size
    )
    val = open_dataset(
        data["val_data"] or "digits",
        data["val_images"],
        split="val",
        on_bad=data["on_bad"],
        class_names=train.class_names,
        count=data["val_count"],
        **size,
    )
    if ranks.first:
        for dataset in (train, val):
            print(dataset.report)
    return Trainer(
        recipe,
        train,
        val,
        folder,
        ranks=ranks,
        resume=resume,
        about=data,
        **here,
    )


def recipe_of(given: dict[str, Any], *, digits: bool) -> Recipe:
    """The recipe of the options given, and YOLOX's for the rest; digits are small, and no digit mirrored."""
    side = 160 if digits else input_size(given.get("model", Recipe.model))
    height, width = given.pop("size", (side, side))
    epochs = given.get("epochs", Recipe.epochs)
    chosen = {"warmup_epochs": min(Recipe.warmup_epochs, epochs // 4), "no_aug_epochs": min(15, epochs // 4)}
    if digits:
        chosen["flip"] = 0.0
    return Recipe(**(chosen | given | {"height": height, "width": width}))
