"""pairwise_iou, 5000 x 5000 float32 boxes, beside powerboxes and beside filling a fresh tensor of the same size."""

import numpy as np
import powerboxes
import pytest
import torch

from python_ref.pairwise_iou import pairwise_iou as reference
from yolox_ops import pairwise_iou

torch.set_num_threads(2)
SIZE = 5000


def random_boxes(n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(n, 2, generator=generator) * 600
    return torch.cat([corner, corner + 1 + torch.rand(n, 2, generator=generator) * 60], -1)


BOXES1, BOXES2 = random_boxes(SIZE, 0), random_boxes(SIZE, 1)


def verify(matrix: torch.Tensor, kind: str = "iou") -> None:
    expected = torch.tensor(reference(BOXES1[:50].tolist(), BOXES2[-50:].tolist(), kind=kind))
    torch.testing.assert_close(matrix[:50, -50:].float(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.benchmark(group="pairwise_iou 5000x5000")
@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_yolox_ops(benchmark, kind):
    verify(pairwise_iou(BOXES1, BOXES2, kind=kind), kind)
    benchmark(pairwise_iou, BOXES1, BOXES2, kind=kind)


@pytest.mark.benchmark(group="pairwise_iou 5000x5000")
def test_fill_a_fresh_tensor(benchmark):
    benchmark(lambda: torch.empty(SIZE, SIZE).fill_(1.0))


@pytest.mark.benchmark(group="pairwise_iou 5000x5000")
def test_powerboxes(benchmark):
    array1, array2 = BOXES1.numpy(), BOXES2.numpy()
    verify(torch.from_numpy(1 - powerboxes.parallel_iou_distance(array1, array2).astype(np.float32)))
    benchmark(powerboxes.parallel_iou_distance, array1, array2)
