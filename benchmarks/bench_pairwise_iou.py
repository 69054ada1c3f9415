"""pairwise_iou beside other codes, and beside filling a fresh tensor of its result's size; float32."""

import functools

import pytest
import torch
from torch import Tensor

from benchmarks.floors import Work
from benchmarks.peers.iou import IS_DISTANCE, PAIRWISE, torchvision_ciou, torchvision_giou
from benchmarks.scenes import random_boxes
from benchmarks.sweeps import Arguments, sweeps
from benchmarks.workloads import Call, gradient
from python_ref.pairwise_iou import pairwise_iou as reference
from yolox_ops import pairwise_iou


def verify(boxes1: Tensor, boxes2: Tensor, matrix: Tensor, kind: str = "iou") -> str:
    expected = torch.tensor(reference(boxes1[:50].tolist(), boxes2[-50:].tolist(), kind=kind))
    torch.testing.assert_close(matrix[:50, -50:].float(), expected, rtol=1e-4, atol=1e-5)
    return "a corner of 50 x 50 equal to the reference"


def floor(M: int, N: int) -> Work:
    return Work(16 * (M + N) + 4 * M * N, "boxes read, IoUs written; a division a pair", divisions=M * N)


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
        work=floor(size, size),
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
        work=floor(2000, 2000),
        counted=["torchvision"],
    )


@sweeps(pairwise_iou, M=(64, 256, 1024, 4096))
def sweep(axis: str, value: int) -> Arguments:
    return (random_boxes(value), random_boxes(2000, seed=1)), {}


@sweep.each_size()
def test_growth(race, axis, value):
    call = sweep.call(axis, value)
    race(
        call,
        table="growth",
        op="pairwise_iou",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify(*call.args, call()),
        work=floor(*map(len, call.args)),
    )


def workload_pairwise_iou() -> Call:
    """IoU, 300 x 300 boxes"""
    a, b = random_boxes(300), random_boxes(300, seed=1)
    return lambda: pairwise_iou(a, b)


def workload_pairwise_iou_backward() -> Call:
    """CIoU, 100 x 100 boxes"""
    return gradient(pairwise_iou, random_boxes(100), random_boxes(100, seed=1))
