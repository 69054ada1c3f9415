"""The options of `yolox-ops train`. An option that is not given is not in the namespace: see command.py."""

import argparse
from pathlib import Path

from yolox_ops.trainer.options import count, image_size, positive, usable_device
from yolox_ops.trainer.train.recipe import AMP, Recipe
from yolox_ops.yolox.assigners import ASSIGNERS
from yolox_ops.yolox.model import MODELS


def add_options(parser: argparse.ArgumentParser) -> None:
    run = parser.add_argument_group("the run")
    run.add_argument("--out", type=Path, help="folder of a new run (default: run)")
    run.add_argument("--resume", type=Path, metavar="RUN", help="folder of a run to go on with, as it was begun")
    run.add_argument("--weights", type=Path, help="checkpoint to start from, of Megvii or of a run; classes may differ")
    run.add_argument("--device", type=usable_device, default="cpu", help="such as cuda (default: %(default)s)")
    run.add_argument("--workers", type=count, default=2, help="processes that make batches (default: %(default)s)")
    run.add_argument(
        "--save-every",
        type=positive,
        default=None,
        metavar="STEPS",
        help="between checkpoints; also a checkpoint ends each epoch",
    )
    run.add_argument(
        "--max-nan-steps",
        type=positive,
        default=10,
        metavar="STEPS",
        help="skipped in a row, as their loss is NaN or infinite, that end the run (default: %(default)s)",
    )
    run.add_argument("--no-progress", dest="progress", action="store_false", default=True, help="no progress bar")

    data = parser.add_argument_group("data")
    data.add_argument("--data", help="JSON file in COCO's format, or digits (default: digits)")
    data.add_argument("--images", help="folder of its images (default: that of the file)")
    data.add_argument("--val-data", help="JSON file to evaluate on, of the same categories")
    data.add_argument("--val-images", help="folder of its images (default: that of the file)")
    data.add_argument("--on-bad", choices=("skip", "refuse"), help="what to do about bad records (default: skip)")
    data.add_argument("--count", type=positive, help="digit images in an epoch (default: 2000)")
    data.add_argument("--val-count", type=positive, help="digit images to evaluate on (default: 400)")

    recipe = parser.add_argument_group("recipe", "Defaults are YOLOX's.")
    recipe.add_argument("--model", choices=tuple(MODELS), help=f"(default: {Recipe.model})")
    recipe.add_argument(
        "--assigner",
        choices=tuple(ASSIGNERS),
        help=f"the rule that gives each object its positives (default: {Recipe.assigner})",
    )
    recipe.add_argument(
        "--size",
        type=image_size,
        help="SIDE or HEIGHTxWIDTH in pixels, multiples of 32 (default: 160 "
        "for digits, else 416 for nano and tiny, 640 for the others)",
    )
    for name, kind, text in (
        ("epochs", positive, ""),
        ("batch", positive, "images a step, over all processes"),
        ("lr", float, "learning rate at a batch of 64; scaled with the batch"),
        ("warmup-epochs", count, "at most a quarter of the epochs unless given"),
        ("no-aug-epochs", count, "the last ones, without mosaic and mixup; at most a quarter unless given"),
        ("weight-decay", float, ""),
        ("clip-norm", float, "cut the gradient to this norm"),
        ("mosaic", float, "probability; None is the model's"),
        ("mixup", float, "probability; None is the model's"),
        ("flip", float, "probability; None is 0 for digits, else the model's"),
        ("eval-every", positive, "epochs"),
        ("seed", count, ""),
    ):
        default = getattr(Recipe, name.replace("-", "_"))
        recipe.add_argument(f"--{name}", type=kind, help=f"{text} (default: {default})".strip())
    recipe.add_argument("--amp", choices=tuple(AMP), help=f"autocast (default: {Recipe.amp})")
    recipe.add_argument("--no-multiscale", dest="multiscale", action="store_false", help="one size for all steps")
    recipe.add_argument("--freeze-norm", action="store_true", help="batch norms keep their statistics")
