"""`yolox-ops demo`: an op at work on a scene that can be looked at."""

import argparse
from pathlib import Path

from yolox_ops._options import canvas_size, needs_extra, positive, usable_device


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
    with needs_extra("the demo", "train", ("matplotlib", "sklearn")):
        from yolox_ops.demo.assign import run
    run(args.out, args.seed, args.images, args.size, args.device)
    return 0
