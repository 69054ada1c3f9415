"""How the cost of an op grows: calls in which one size grows and the others stay. Timed by benchmarks/bench_<op>.py,
their instructions counted by benchmarks/instructions.py."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import yolox_ops
from benchmarks.scenes import random_boxes, random_detections, scene

Args = tuple[Any, ...]
SIZES = {525: 160, 2100: 320, 8400: 640, 33600: 1280, 134400: 2560}  # N: pixels along a side


@dataclass(frozen=True)
class Sweep:
    function: str  # of yolox_ops
    arguments: Callable[[str, int], tuple[Args, dict[str, Any]]]
    axes: dict[str, tuple[int, ...]]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((axis, value) for axis, values in self.axes.items() for value in values)

    def call(self, axis: str, value: int) -> functools.partial[Any]:
        """With the arguments, and the options, in .args and .keywords."""
        args, options = self.arguments(axis, value)
        return functools.partial(getattr(yolox_ops, self.function), *args, **options)


SWEEPS: dict[str, Sweep] = {}  # by op


def swept(function: str = "", **axes: tuple[int, ...]) -> Callable[..., Any]:
    """Of the op that bears the name: each axis with each of its sizes."""

    def note(arguments: Callable[[str, int], tuple[Args, dict[str, Any]]]) -> Callable[..., Any]:
        op = arguments.__name__
        SWEEPS[op] = Sweep(function or op, arguments, axes)
        return arguments

    return note


def sweep(op: str) -> pytest.MarkDecorator:
    """Parametrizes a test by `axis` and `value`."""
    cases = list(SWEEPS[op])
    return pytest.mark.parametrize(("axis", "value"), cases, ids=[f"{axis}={value}" for axis, value in cases])


def grown(axis: str, value: int, *, images: int, objects: int) -> Args:
    """A batch in which one thing has the size `value`; the others: 640 x 640 pixels, 80 classes."""
    return scene(
        [value if axis == "G" else objects] * (value if axis == "B" else images),
        value if axis == "C" else 80,
        SIZES[value] if axis == "N" else 640,
    )


@swept(M=(64, 256, 1024, 4096))
def pairwise_iou(axis: str, value: int) -> tuple[Args, dict[str, Any]]:
    return (random_boxes(value), random_boxes(2000, seed=1)), {}


@swept(pairs=(1000, 4000, 16_000, 64_000, 256_000, 1_024_000))
def aligned_iou(axis: str, value: int) -> tuple[Args, dict[str, Any]]:
    return (random_boxes(value, canvas=60), random_boxes(value, seed=1, canvas=60)), {"kind": "ciou"}


@swept(B=(1, 2, 4, 8, 16), G=(4, 8, 16, 32, 64), N=(2100, 8400, 33600), C=(20, 80, 320))
def simota_cost(axis: str, value: int) -> tuple[Args, dict[str, Any]]:
    return grown(axis, value, images=4, objects=8), {}


@swept(B=(1, 2, 4, 8, 16), G=(4, 8, 16, 32, 64), N=(2100, 8400, 33600))
def dynamic_k_match(axis: str, value: int) -> tuple[Args, dict[str, Any]]:
    return yolox_ops.simota_cost(*grown(axis, value, images=4, objects=8)), {}


@swept(
    B=(1, 2, 4, 8, 16, 32, 64),
    G=(1, 8, 32, 64, 128, 256, 512, 1024),
    N=(2100, 8400, 33600, 134400),
    C=(20, 80, 320, 1280),
)
def simota(axis: str, value: int) -> tuple[Args, dict[str, Any]]:
    return grown(axis, value, images=1 if axis == "G" else 8, objects=16), {}


@swept(
    B=(1, 2, 4, 8, 16, 32, 64),
    G=(8, 16, 32, 64, 128, 256, 512),
    N=(2100, 8400, 33600),
    C=(20, 80, 320),
    iterations=(25, 50, 100, 200),
)
def ota(axis: str, value: int) -> tuple[Args, dict[str, Any]]:
    """Without objectness."""
    pred_boxes, cls_logits, _, *rest = grown(axis, value, images=1 if axis == "G" else 4, objects=16)
    return (pred_boxes, cls_logits, *rest), {"iterations": value if axis == "iterations" else 50}


@swept(B=(1, 2, 4, 8, 16), M=(4, 8, 16, 32, 64), N=(525, 2100, 8400, 33600), iterations=(10, 20, 40, 80, 160))
def sinkhorn(axis: str, value: int) -> tuple[Args, dict[str, Any]]:
    """Transport problems like OTA's: M - 1 objects that serve ten anchors each, and the background the others."""
    objects = value - 1 if axis == "M" else 15
    cost, _ = yolox_ops.simota_cost(*grown(axis, value, images=2, objects=objects))
    cost = torch.nn.functional.pad(cost.float().clamp(max=1e6), (0, 0, 0, 1))
    B, M, N = cost.shape
    supply = torch.tensor([10.0] * objects + [N - 10.0 * objects]).expand(B, M)
    return (cost, supply, torch.ones(B, N)), {"iterations": value if axis == "iterations" else 20}


@swept(
    "batched_soft_nms",
    boxes=(500, 1000, 2000, 4000, 8000),
    labels=(1, 2, 4, 8, 16, 32, 64),
    B=(1, 2, 4, 8, 16, 32),
)
def soft_nms(axis: str, value: int) -> tuple[Args, dict[str, Any]]:
    """The canvas grows with the boxes, so that each goes on overlapping as many: what the op computes is a weight for
    each two boxes that overlap. With the labels these become fewer."""
    boxes = value if axis == "boxes" else 1000 if axis == "B" else 4000
    shape = (value if axis == "B" else 1), boxes
    kinds = value if axis == "labels" else 1
    return random_detections(*shape, canvas=600 * (boxes / 4000) ** 0.5, kinds=kinds), {}
