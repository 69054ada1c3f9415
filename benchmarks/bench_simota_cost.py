"""simota_cost beside the same matrices as torch operations make them, one image at a time: 640 x 640, C = 80."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.scenes import scene
from yolox_ops import pairwise_iou, simota_cost

torch.set_num_threads(2)
ARGS = scene([25] * 4)
GROUP = "simota_cost B=4 gts=25"


def torch_cost(pred: Tensor, cls: Tensor, obj: Tensor, points: Tensor, strides: Tensor, boxes: Tensor, labels: Tensor):
    """cost and iou [G, candidates] of one image, as Megvii's get_assignments computes them."""
    inside = ((points - boxes[:, None, :2]).abs() < 1.5 * strides[:, None]).all(-1)  # [G, N]
    candidates = inside.any(0)
    iou = pairwise_iou(boxes, pred[candidates], fmt="cxcywh")
    score = (cls[candidates].sigmoid() * obj[candidates, None].sigmoid()).sqrt().expand(len(boxes), -1, -1)
    target = F.one_hot(labels, cls.shape[-1]).float()[:, None].expand_as(score)
    cls_cost = F.binary_cross_entropy(score, target, reduction="none").sum(-1)
    return cls_cost - 3 * torch.log(iou + 1e-8) + 1e6 * ~inside[:, candidates], iou, candidates


def torch_costs() -> list:
    pred, cls, obj, points, strides, boxes, labels, _ = ARGS
    return [torch_cost(pred[b], cls[b], obj[b], points, strides, boxes[b], labels[b]) for b in range(len(pred))]


def verify() -> None:
    cost, iou = simota_cost(*ARGS)
    for b, (peer_cost, peer_iou, candidates) in enumerate(torch_costs()):
        torch.testing.assert_close(cost[b, :, candidates].float(), peer_cost, rtol=1e-5, atol=1e-3)
        torch.testing.assert_close(iou[b, :, candidates], peer_iou, rtol=1e-5, atol=1e-6)
        assert cost[b, :, ~candidates].isinf().all()


@pytest.mark.benchmark(group=GROUP)
def test_yolox_ops(benchmark):
    verify()
    benchmark(simota_cost, *ARGS)


@pytest.mark.benchmark(group=GROUP)
def test_torch(benchmark):
    verify()
    benchmark(torch_costs)
