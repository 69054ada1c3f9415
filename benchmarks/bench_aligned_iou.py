"""aligned_iou, forward and backward of CIoU for 100,000 pairs, beside the same formula in torch operations."""

import math

import pytest
import torch
from torch import Tensor

from yolox_ops import aligned_iou

torch.set_num_threads(2)
PAIRS = 100_000


def random_boxes(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(PAIRS, 2, generator=generator) * 60
    return torch.cat([corner, corner + 1 + torch.rand(PAIRS, 2, generator=generator) * 60], -1)


def torch_ciou(a: Tensor, b: Tensor) -> Tensor:
    inter = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(-1)
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    iou = inter / (size_a.prod(-1) + size_b.prod(-1) - inter)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    centre = ((a[:, :2] + a[:, 2:]) - (b[:, :2] + b[:, 2:])) / 2
    turn = torch.atan2(size_b[:, 0], size_b[:, 1]) - torch.atan2(size_a[:, 0], size_a[:, 1])
    v = 4 / math.pi**2 * turn**2
    alpha = (v / (1 - iou + v)).detach()
    return iou - centre.square().sum(-1) / hull.square().sum(-1) - alpha * v


def step(function) -> tuple[Tensor, Tensor, Tensor]:
    a, b = random_boxes(0).requires_grad_(), random_boxes(1).requires_grad_()
    value = function(a, b)
    value.sum().backward()
    return value.detach(), a.grad, b.grad


def ours(a: Tensor, b: Tensor) -> Tensor:
    return aligned_iou(a, b, kind="ciou")


@pytest.mark.benchmark(group="aligned_iou CIoU, 100,000 pairs, forward and backward")
@pytest.mark.parametrize("function", [ours, torch_ciou], ids=["yolox_ops", "torch"])
def test_step(benchmark, function):
    torch.testing.assert_close(step(ours), step(torch_ciou), rtol=1e-3, atol=1e-4)
    benchmark(step, function)
