"""The options of `yolox-ops compare-assigners`."""

import argparse
from pathlib import Path

from yolox_ops.trainer.options import count, image_size, positive, usable_device
from yolox_ops.yolox.assigners import ASSIGNERS
from yolox_ops.yolox.model import MODELS


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--assigners",
        nargs="+",
        choices=tuple(ASSIGNERS),
        default=tuple(ASSIGNERS),
        help=f"(default: {' '.join(ASSIGNERS)})",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=count,
        default=(0, 1, 2),
        help="of weights, order and images, the same for each assigner (default: 0 1 2)",
    )
    for name, kind, default, text in (
        ("epochs", positive, 8, ""),
        ("count", positive, 2000, "images in an epoch"),
        ("val-count", positive, 400, "images to evaluate on"),
        ("size", image_size, (160, 160), "SIDE or HEIGHTxWIDTH in pixels, n x 32"),
        ("batch", positive, 8, "images a step"),
        ("lr", float, 0.08, "learning rate at a batch of 64; scaled with the batch"),
        ("workers", count, 0, "processes that make batches"),
        ("device", usable_device, "cpu", "such as cuda"),
        ("out", Path, Path("compare"), "folder of the results, and of what is done of them"),
    ):
        shown = default[0] if isinstance(default, tuple) else default
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} (default: {shown})".strip())
    parser.add_argument("--model", choices=tuple(MODELS), default="yolox_nano", help="(default: %(default)s)")
    parser.add_argument("--threads", type=positive, help="of the CPU (default: torch's)")
    parser.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bar")
