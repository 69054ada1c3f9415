"""`yolox-ops demo`: the whole package at work on data that needs no download."""

import argparse
from pathlib import Path

from yolox_ops._missing import needs_extra
from yolox_ops.trainer.commands import TRAIN_EXTRA
from yolox_ops.trainer.options import count, positive, usable_device


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = commands.add_parser("demo", help="train a detector of handwritten digits and look at what it does")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder of the run (default: %(default)s)")
    demo.add_argument("--seed", type=count, default=0, help="another seed, other images (default: %(default)s)")
    demo.add_argument("--epochs", type=positive, default=8, help="(default: %(default)s)")
    demo.add_argument("--count", type=positive, default=2000, help="images in an epoch (default: %(default)s)")
    demo.add_argument("--val-count", type=positive, default=400, help="images to evaluate on (default: %(default)s)")
    demo.add_argument("--device", type=usable_device, default="cpu", help="such as cuda (default: %(default)s)")
    demo.set_defaults(run=run_demo)


def run_demo(args: argparse.Namespace) -> int:
    with needs_extra("the demo", "train", TRAIN_EXTRA):
        from yolox_ops.trainer.demo.detector import run
    options = {name: getattr(args, name) for name in ("seed", "device", "epochs", "count", "val_count")}
    run(args.out, **options)
    return 0
