"""aligned_iou, 1 - CIoU forward, and forward with backward, beside torchvision's complete_box_iou_loss."""

import functools

import pytest
import torch
from torch import Tensor

from benchmarks import floors
from benchmarks.peers.iou import torchvision_aligned_ciou as torchvision_ciou
from benchmarks.scenes import random_boxes
from benchmarks.sweeps import SWEEPS, sweep
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
        work=floors.aligned_iou(pairs, backward),
        counted=["torchvision"],
    )


@sweep("aligned_iou")
def test_growth(race, axis, value):
    call = SWEEPS["aligned_iou"].call(axis, value)
    race(
        call,
        table="growth",
        op="aligned_iou",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify(*call.args),
        work=floors.aligned_iou(value, False),
    )
