"""aligned_iou, 1 - CIoU forward, and forward with backward, beside torchvision's complete_box_iou_loss."""

import functools

import pytest
import torch
from torch import Tensor

from benchmarks.floors import Work
from benchmarks.peers.iou import torchvision_aligned_ciou as torchvision_ciou
from benchmarks.scenes import random_boxes
from benchmarks.sweeps import Arguments, sweeps
from benchmarks.workloads import Call, gradient
from yolox_ops import aligned_iou


def theirs(a: Tensor, b: Tensor) -> Tensor:
    return torchvision_ciou(a, b)()


def ours(a: Tensor, b: Tensor) -> Tensor:
    return 1 - aligned_iou(a, b, kind="ciou")


def step(function, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    value = function(a, b)
    value.sum().backward()
    return value.detach(), a.grad, b.grad


def verify(a: Tensor, b: Tensor) -> str:
    torch.testing.assert_close(step(ours, a, b), step(theirs, a, b), rtol=1e-3, atol=1e-4)
    return "values and gradients within 1e-3 of torchvision's"


def floor(pairs: int, backward: bool) -> Work:
    """CIoU; backward is forward as well, and its two gradients."""
    moved = pairs * (36 + 36 + 32 if backward else 36)
    text = "boxes read, values and gradients written" if backward else "boxes read, values written"
    return Work(moved, f"{text}; two arctangents and four divisions a pair", 2 * pairs, 4 * pairs)


@pytest.mark.parametrize("backward", [True, False], ids=["backward", "forward"])
@pytest.mark.parametrize("pairs", [100_000, 1000])
def test_peers(race, pairs, backward):
    boxes = random_boxes(pairs, canvas=60), random_boxes(pairs, seed=1, canvas=60)
    run = step if backward else lambda function, *boxes: function(*boxes)
    race(
        functools.partial(run, ours, *boxes),
        {"torchvision": functools.partial(run, theirs, *boxes)},
        op="aligned_iou",
        case=f"{pairs:,} pairs, CIoU" + (", forward and backward" if backward else ""),
        verified=verify(*boxes),
        work=floor(pairs, backward),
        counted=["torchvision"],
    )


@sweeps(aligned_iou, pairs=(1000, 4000, 16_000, 64_000, 256_000, 1_024_000))
def sweep(axis: str, value: int) -> Arguments:
    return (random_boxes(value, canvas=60), random_boxes(value, seed=1, canvas=60)), {"kind": "ciou"}


@sweep.each_size()
def test_growth(race, axis, value):
    call = sweep.call(axis, value)
    race(
        call,
        table="growth",
        op="aligned_iou",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify(*call.args),
        work=floor(value, False),
    )


def workload_aligned_iou() -> Call:
    """CIoU, 10,000 pairs"""
    a, b = random_boxes(10_000), random_boxes(10_000, seed=1)
    return lambda: aligned_iou(a, b, kind="ciou")


def workload_aligned_iou_backward() -> Call:
    """CIoU, 10,000 pairs"""
    return gradient(aligned_iou, random_boxes(10_000), random_boxes(10_000, seed=1))
