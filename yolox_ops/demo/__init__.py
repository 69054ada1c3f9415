"""`yolox-ops demo`: an op at work on a scene that can be looked at."""

import argparse
from pathlib import Path

import torch

EXTRAS = ("matplotlib", "sklearn")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = commands.add_parser("demo", help="watch an op at work on handwritten digits")
    demos = demo.add_subparsers(title="demos", metavar="DEMO", required=True)

    assign = demos.add_parser("assign", help="SimOTA against the plain torch loop, as a table and a picture")
    assign.add_argument("--out", type=Path, default=Path("demo"), help="folder for assign.png (default: %(default)s)")
    assign.add_argument("--seed", type=int, default=0, help="another seed, another scene (default: %(default)s)")
    assign.add_argument("--images", type=positive, default=4, help="if several, one is empty (default: %(default)s)")
    assign.add_argument("--size", type=canvas_size, default=416, help="side in pixels, n x 32 (default: %(default)s)")
    assign.add_argument(
        "--device", type=usable_device, default="cpu", help="where the ops run, such as cuda (default: %(default)s)"
    )
    assign.set_defaults(run=run_assign)


def run_assign(args: argparse.Namespace) -> int:
    try:
        from yolox_ops.demo.assign import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRAS:
            raise
        raise SystemExit(f"the demo needs {error.name}: pip install '.[demo]' in the yolox_ops checkout") from error
    run(args.out, args.seed, args.images, args.size, args.device)
    return 0


def positive(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return int(text)


def canvas_size(text: str) -> int:
    size = positive(text)
    if size % 32 or size < 128:
        raise argparse.ArgumentTypeError(f"must be a multiple of 32, 128 or more, got {size}")
    return size


def usable_device(text: str) -> str:
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise argparse.ArgumentTypeError(str(error).partition("\n")[0]) from error
    return text
