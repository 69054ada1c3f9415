"""pairwise_iou beside other codes, and beside filling a fresh tensor of its result's size; float32."""

import functools

import pytest
import torch
from torch import Tensor

from benchmarks import floors
from benchmarks.peers.iou import IS_DISTANCE, PAIRWISE, torchvision_ciou, torchvision_giou
from benchmarks.scenes import random_boxes
from benchmarks.sweeps import SWEEPS, sweep
from python_ref.pairwise_iou import pairwise_iou as reference
from yolox_ops import pairwise_iou


def verify(boxes1: Tensor, boxes2: Tensor, matrix: Tensor, kind: str = "iou") -> str:
    expected = torch.tensor(reference(boxes1[:50].tolist(), boxes2[-50:].tolist(), kind=kind))
    torch.testing.assert_close(matrix[:50, -50:].float(), expected, rtol=1e-4, atol=1e-5)
    return "a corner of 50 x 50 equal to the reference"


@pytest.mark.parametrize("size", [5000, 1000, 100])
def test_peers(race, size):
    boxes1, boxes2 = random_boxes(size), random_boxes(size, seed=1)
    answer = pairwise_iou(boxes1, boxes2)
    verified = verify(boxes1, boxes2, answer)
    calls = {name: prepare(boxes1, boxes2) for name, prepare in PAIRWISE.items()}
    for name, call in calls.items():
        theirs = torch.as_tensor(call()).float()
        torch.testing.assert_close(1 - theirs if name in IS_DISTANCE else theirs, answer, rtol=1e-4, atol=1e-5)
    race(
        functools.partial(pairwise_iou, boxes1, boxes2),
        {**calls, "filling a fresh tensor (another algorithm)": lambda: torch.empty(size, size).fill_(1.0)},
        op="pairwise_iou",
        case=f"{size} x {size}",
        verified=f"{verified}; every other code's matrix within 1e-4",
        work=floors.pairwise_iou(size, size),
        counted=["torchvision", "mmdet"],
    )


@pytest.mark.parametrize(("kind", "prepare"), [("giou", torchvision_giou), ("ciou", torchvision_ciou)])
def test_kinds(race, kind, prepare):
    boxes1, boxes2 = random_boxes(2000), random_boxes(2000, seed=1)
    answer, call = pairwise_iou(boxes1, boxes2, kind=kind), prepare(boxes1, boxes2)
    torch.testing.assert_close(call(), answer, rtol=1e-4, atol=1e-5)
    race(
        functools.partial(pairwise_iou, boxes1, boxes2, kind=kind),
        {"torchvision": call},
        op="pairwise_iou",
        case=f"2000 x 2000, {kind[0].upper()}IoU",
        verified=verify(boxes1, boxes2, answer, kind) + "; torchvision's matrix within 1e-4",
        work=floors.pairwise_iou(2000, 2000),
        counted=["torchvision"],
    )


@sweep("pairwise_iou")
def test_growth(race, axis, value):
    call = SWEEPS["pairwise_iou"].call(axis, value)
    race(
        call,
        table="growth",
        op="pairwise_iou",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify(*call.args, call()),
        work=floors.pairwise_iou(*map(len, call.args)),
    )
