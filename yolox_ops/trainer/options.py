"""What the commands share: types of arguments, and how they end where a user can put something right."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from yolox_ops._arguments import LARGEST_SIDE, short_repr


def positive(text: str) -> int:
    return _integer(text, 1, "a positive integer")


def count(text: str) -> int:
    return _integer(text, 0, "an integer of at least 0")


def _integer(text: str, least: int, words: str) -> int:
    if len(text) > 9:  # a mistake, whatever it counts
        words += " of at most 9 digits"
    elif text.isdecimal() and int(text) >= least:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be {words}, got {short_repr(text)}")


def image_size(text: str) -> tuple[int, int]:
    """Height and width from "160" or "160x256"."""
    sides = [int(side) if side.isdecimal() and len(side) < 9 else 0 for side in text.split("x")]
    if len(sides) > 2 or any(side < 32 or side % 32 or side > LARGEST_SIDE for side in sides):
        rule = f"in positive multiples of 32 up to {LARGEST_SIDE}"
        raise argparse.ArgumentTypeError(f"must be SIDE or HEIGHTxWIDTH {rule}, got {text!r}")
    return sides[0], sides[-1]


def usable_device(text: str) -> str:
    if text.partition(":")[0] not in ("cpu", "cuda"):  # torch knows others, for which there are no kernels
        raise argparse.ArgumentTypeError(f"must be cpu or cuda, got {text!r}")
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise argparse.ArgumentTypeError(str(error).partition("\n")[0]) from error
    return text


def printable(text: str) -> str:
    """The text with what is no letter of any script escaped: a name may hold what moves a terminal's cursor."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


@contextmanager
def told(kinds: tuple[type[Exception], ...] = (ValueError, OSError)) -> Iterator[None]:
    """Files and values that a user can put right end the command with a message."""
    try:
        yield
    except kinds as error:
        raise SystemExit(f"yolox-ops: {error}") from error
