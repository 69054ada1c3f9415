"""sinkhorn beside POT and Megvii's dense iteration, on the transport problems of OTA: float32."""

import functools

import pytest
import torch
from torch import Tensor

from benchmarks import floors
from benchmarks.peers.transport import megvii_ota_problems, megvii_sinkhorn, pot_sinkhorn
from benchmarks.sweeps import SWEEPS, sweep
from yolox_ops import sinkhorn


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
        work=floors.sinkhorn(tensors[0], 50),
        counted=["Megvii's rule, torch"],
    )


@sweep("sinkhorn")
def test_growth(race, axis, value):
    call = SWEEPS["sinkhorn"].call(axis, value)
    iterations = call.keywords["iterations"]
    race(
        call,
        table="growth",
        op="sinkhorn",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify(call(), call.args, iterations),
        work=floors.sinkhorn(call.args[0], iterations),
    )
