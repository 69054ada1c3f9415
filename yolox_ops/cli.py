"""The command `yolox-ops`, also `python -m yolox_ops`. A subcommand is a `register` that adds a parser with a `run`."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from yolox_ops import build_info
from yolox_ops._files import BadFile
from yolox_ops.trainer import commands as detector
from yolox_ops.trainer import demo
from yolox_ops.trainer.options import told


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns the exit status; what a user can put right ends in SystemExit with a message."""
    parser = argparse.ArgumentParser("yolox-ops", description="Fused kernels for YOLOX-style detection.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for register in (register_info, demo.register, detector.register):
        register(commands)
    args = parser.parse_args(argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold what a terminal has no letter for
    try:
        with told((BadFile, MemoryError, OSError)):
            return args.run(args)
    except KeyboardInterrupt as error:
        raise SystemExit("yolox-ops: interrupted") from error
    finally:
        try:
            sys.stdout.flush()
        except OSError as error:
            # What is left to be written would be tried again, and complained of by Python itself.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(f"yolox-ops: {error}") from error


def register_info(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("info", help="say what is installed, for a bug report")
    parser.set_defaults(run=info)


def info(args: argparse.Namespace) -> int:
    facts = build_info()
    width = max(map(len, facts))
    for name, text in facts.items():
        print(f"{name:{width}}  {text}")
    return 0
