"""How the cost of an op grows: calls in which one size grows and the others stay. Each benchmarks/bench_<op>.py has a
`sweep`, which it times; benchmarks/instructions.py counts its instructions."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from benchmarks.scenes import Scene, scene

Arguments = tuple[tuple[Any, ...], dict[str, Any]]  # and options
SIZES = {525: 160, 2100: 320, 8400: 640, 33600: 1280, 134400: 2560}  # N: pixels along a side


@dataclass(frozen=True)
class Sweep:
    function: Callable[..., Any]
    arguments: Callable[[str, int], Arguments]
    axes: dict[str, tuple[int, ...]]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((axis, value) for axis, values in self.axes.items() for value in values)

    def call(self, axis: str, value: int) -> functools.partial[Any]:
        """With the arguments, and the options, in .args and .keywords."""
        args, options = self.arguments(axis, value)
        return functools.partial(self.function, *args, **options)

    def each_size(self) -> pytest.MarkDecorator:
        """Parametrizes a test by `axis` and `value`."""
        cases = list(self)
        return pytest.mark.parametrize(("axis", "value"), cases, ids=[f"{axis}={value}" for axis, value in cases])


def sweeps(function: Callable[..., Any], **axes: tuple[int, ...]) -> Callable[[Callable[[str, int], Arguments]], Sweep]:
    """Makes the sweep of `function`, each axis with each of its sizes, of what gives the arguments."""
    return lambda arguments: Sweep(function, arguments, axes)


def grown(axis: str, value: int, *, images: int, objects: int) -> Scene:
    """A batch in which one thing has the size `value`; the others: 640 x 640 pixels, 80 classes."""
    return scene(
        [value if axis == "G" else objects] * (value if axis == "B" else images),
        value if axis == "C" else 80,
        SIZES[value] if axis == "N" else 640,
    )
