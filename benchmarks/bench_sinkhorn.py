"""sinkhorn beside POT and Megvii's dense iteration, on the transport problems of OTA: float32."""

import functools

import pytest
import torch
from torch import Tensor

from benchmarks import floors
from benchmarks.peers_ota import megvii_ota_problem, megvii_sinkhorn, pot_sinkhorn
from benchmarks.scenes import scene
from benchmarks.sweeps import sweep
from yolox_ops import sinkhorn


def problem(images: int, objects: int = 50, size: int = 640) -> tuple[Tensor, ...]:
    """cost [B, M, N] with M = objects + 1, supply, demand."""
    pred_boxes, cls_logits, _, points, strides, gt_boxes, gt_labels, _ = scene([objects] * images, size=size)
    parts = [
        megvii_ota_problem(pred_boxes[b], cls_logits[b], points, strides, gt_boxes[b], gt_labels[b])[:2]
        for b in range(images)
    ]
    cost, supply = (torch.stack(tensors) for tensors in zip(*parts, strict=True))
    return cost, supply, torch.ones(images, cost.shape[2])


def by_image(function, tensors):
    return torch.stack([function(*image) for image in zip(*tensors, strict=True)])


def verify(plan: Tensor, tensors: tuple[Tensor, ...], iterations: int = 50) -> str:
    """The first and the last image; tests/ hold that an image's plan does not depend on its batch."""
    chosen = sorted({0, len(plan) - 1})
    expected = megvii_sinkhorn(*(t[chosen].double() for t in tensors), iterations=iterations)
    torch.testing.assert_close(plan[chosen].double(), expected, rtol=0, atol=1e-4)
    return "plans within 1e-4 of Megvii's rule in float64"


@pytest.mark.parametrize("images", [16, 1])
def test_peers(race, images):
    tensors = problem(images)
    peers = {
        "POT, NumPy": lambda: by_image(lambda *i: torch.from_numpy(pot_sinkhorn(*(t.numpy() for t in i))), tensors),
        "POT, torch": lambda: by_image(pot_sinkhorn, tensors),
        "Megvii's rule, torch": functools.partial(megvii_sinkhorn, *tensors),
    }
    for peer in peers.values():
        verify(peer(), tensors)
    race(
        functools.partial(sinkhorn, *tensors),
        peers,
        op="sinkhorn",
        case=f"B={images}, M=51, N=8400, 50 iterations",
        verified=verify(sinkhorn(*tensors), tensors),
        work=floors.sinkhorn(tensors[0], 50),
        counted=["Megvii's rule, torch"],
    )


@sweep(B=(1, 2, 4, 8, 16), M=(4, 8, 16, 32, 64), N=(525, 2100, 8400, 33600), iterations=(10, 20, 40, 80, 160))
def test_growth(race, axis, value):
    size = {525: 160, 2100: 320, 8400: 640, 33600: 1280}[value] if axis == "N" else 640
    tensors = problem(value if axis == "B" else 2, value - 1 if axis == "M" else 15, size)
    iterations = value if axis == "iterations" else 20
    call = functools.partial(sinkhorn, *tensors, iterations=iterations)
    race(
        call,
        table="growth",
        op="sinkhorn",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify(call(), tensors, iterations),
        work=floors.sinkhorn(tensors[0], iterations),
    )
