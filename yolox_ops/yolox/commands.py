"""The detector's subcommands of `yolox-ops`. What they need beside torch is imported when one runs."""

import argparse

from yolox_ops._options import needs_extra
from yolox_ops.yolox.train.options import add_options

TRAIN_EXTRA = ("cv2", "matplotlib", "pycocotools", "sklearn", "tqdm")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    train = commands.add_parser("train", help="train a model on a data set", argument_default=argparse.SUPPRESS)
    add_options(train)
    train.set_defaults(run=run_train)


def run_train(args: argparse.Namespace) -> int:
    with needs_extra("training", "train", TRAIN_EXTRA):
        from yolox_ops.yolox.train.command import run
    return run(args)
