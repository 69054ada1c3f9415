"""sinkhorn beside POT and Megvii's dense iteration, on the transport problems of OTA: float32."""

import functools

import pytest
import torch
from torch import Tensor

from benchmarks.floors import Work
from benchmarks.peers.transport import megvii_ota_problems, megvii_sinkhorn, pot_sinkhorn
from benchmarks.sweeps import Arguments, grown, sweeps
from benchmarks.workloads import Call
from yolox_ops import simota_cost, sinkhorn


def by_image(function, tensors):
    return torch.stack([function(*image) for image in zip(*tensors, strict=True)])


def verify(plan: Tensor, tensors: tuple[Tensor, ...], iterations: int = 50) -> str:
    """The first and the last image; tests/ hold that an image's plan does not depend on its batch."""
    chosen = sorted({0, len(plan) - 1})
    expected = megvii_sinkhorn(*(t[chosen].double() for t in tensors), iterations=iterations)
    torch.testing.assert_close(plan[chosen].double(), expected, rtol=0, atol=1e-4)
    return "plans within 1e-4 of Megvii's rule in float64"


def floor(
    cost: Tensor,  # [B, M, N]
    iterations: int,
) -> Work:
    return Work(
        (2 + iterations) * cost.nbytes,
        "costs read, plan written, and the matrix read once an iteration, image by image; an exponential an element",
        resident=cost[0].nbytes,
        exponentials=cost.numel(),
    )


@pytest.mark.parametrize("images", [16, 1])
def test_peers(race, images):
    tensors = megvii_ota_problems(images)
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
        work=floor(tensors[0], 50),
        counted=["Megvii's rule, torch"],
    )


@sweeps(
    sinkhorn,
    B=(1, 2, 4, 8, 16),
    M=(4, 8, 16, 32, 64),
    N=(525, 2100, 8400, 33600),
    iterations=(10, 20, 40, 80, 160),
)
def sweep(axis: str, value: int) -> Arguments:
    """Transport problems like OTA's: M - 1 objects that serve ten anchors each, and the background the others."""
    objects = value - 1 if axis == "M" else 15
    cost, _ = simota_cost(*grown(axis, value, images=2, objects=objects))
    cost = torch.nn.functional.pad(cost.float().clamp(max=1e6), (0, 0, 0, 1))
    B, M, N = cost.shape
    supply = torch.tensor([10.0] * objects + [N - 10.0 * objects]).expand(B, M)
    return (cost, supply, torch.ones(B, N)), {"iterations": value if axis == "iterations" else 20}


@sweep.each_size()
def test_growth(race, axis, value):
    call = sweep.call(axis, value)
    iterations = call.keywords["iterations"]
    race(
        call,
        table="growth",
        op="sinkhorn",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify(call(), call.args, iterations),
        work=floor(call.args[0], iterations),
    )


def workload_sinkhorn() -> Call:
    """2 x 20 x 1000, 10 iterations"""
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(2, 20, 1000, generator=generator) * 5
    supply = torch.full((2, 20), 50.0)
    demand = torch.ones(2, 1000)
    return lambda: sinkhorn(cost, supply, demand, iterations=10)
