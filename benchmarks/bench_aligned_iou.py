"""aligned_iou, 1 - CIoU forward, and forward with backward, beside torchvision's complete_box_iou_loss."""

import pytest
import torch
from torch import Tensor

from benchmarks import floors
from benchmarks.peers_iou import torchvision_aligned_ciou as torchvision_ciou
from benchmarks.sweeps import sweep
from yolox_ops import aligned_iou


def random_boxes(pairs: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(pairs, 2, generator=generator) * 60
    return torch.cat([corner, corner + 1 + torch.rand(pairs, 2, generator=generator) * 60], -1)


def theirs(a: Tensor, b: Tensor) -> Tensor:
    return torchvision_ciou(a, b)()


def ours(a: Tensor, b: Tensor) -> Tensor:
    return 1 - aligned_iou(a, b, kind="ciou")


def step(function, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    value = function(a, b)
    value.sum().backward()
    return value.detach(), a.grad, b.grad


def calls(pairs: int, backward: bool):
    """Ours, torchvision's, and what was verified."""
    a, b = random_boxes(pairs, 0), random_boxes(pairs, 1)
    torch.testing.assert_close(step(ours, a, b), step(theirs, a, b), rtol=1e-3, atol=1e-4)
    run = step if backward else lambda function, *boxes: function(*boxes)
    verified = "values and gradients within 1e-3 of torchvision's"
    return lambda: run(ours, a, b), lambda: run(theirs, a, b), verified


@pytest.mark.parametrize("backward", [True, False], ids=["backward", "forward"])
@pytest.mark.parametrize("pairs", [100_000, 1000])
def test_peers(race, pairs, backward):
    call, peer, verified = calls(pairs, backward)
    race(
        call,
        {"torchvision": peer},
        op="aligned_iou",
        case=f"{pairs:,} pairs, CIoU" + (", forward and backward" if backward else ""),
        verified=verified,
        work=floors.aligned_iou(pairs, backward),
        counted=["torchvision"],
    )


@sweep(pairs=(1000, 4000, 16_000, 64_000, 256_000, 1_024_000))
def test_growth(race, axis, value):
    call, _, verified = calls(value, False)
    race(
        call,
        table="growth",
        op="aligned_iou",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verified,
        work=floors.aligned_iou(value, False),
    )
