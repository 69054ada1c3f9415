"""simota_cost beside the same matrices as torch operations make them, one image at a time: C = 80, float32."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.floors import Work, pairs_inside, simota_inputs
from benchmarks.scenes import scene
from benchmarks.sweeps import Arguments, grown, sweeps
from benchmarks.workloads import Call
from yolox_ops import Scene, pairwise_iou, simota_cost


def torch_cost(pred: Tensor, cls: Tensor, obj: Tensor, points: Tensor, strides: Tensor, boxes: Tensor, labels: Tensor):
    """cost and iou [G, candidates] of one image, as Megvii's get_assignments computes them."""
    inside = ((points - boxes[:, None, :2]).abs() < 1.5 * strides[:, None]).all(-1)  # [G, N]
    candidates = inside.any(0)
    iou = pairwise_iou(boxes, pred[candidates], fmt="cxcywh")
    score = (cls[candidates].sigmoid() * obj[candidates, None].sigmoid()).sqrt().expand(len(boxes), -1, -1)
    target = F.one_hot(labels, cls.shape[-1]).float()[:, None].expand_as(score)
    cls_cost = F.binary_cross_entropy(score, target, reduction="none").sum(-1)
    return cls_cost - 3 * torch.log(iou + 1e-8) + 1e6 * ~inside[:, candidates], iou, candidates


def torch_costs(args: Scene) -> list:
    pred, cls, obj, points, strides, boxes, labels, _ = args
    return [torch_cost(pred[b], cls[b], obj[b], points, strides, boxes[b], labels[b]) for b in range(len(pred))]


def verify(args: Scene) -> str:
    cost, iou = simota_cost(*args)
    for b, (peer_cost, peer_iou, candidates) in enumerate(torch_costs(args)):
        torch.testing.assert_close(cost[b, :, candidates].float(), peer_cost, rtol=1e-5, atol=1e-3)
        torch.testing.assert_close(iou[b, :, candidates], peer_iou, rtol=1e-5, atol=1e-6)
        assert cost[b, :, ~candidates].isinf().all()
    return "costs within 1e-5 of torch's"


def floor(args: Scene) -> Work:
    read, candidates = simota_inputs(args)
    (B, N, C), G = args[1].shape, args[5].shape[1]
    pairs = int((pairs_inside(args).any(1).sum(1) * args[7]).sum())
    return Work(
        read + B * G * N * 12,
        "candidates' logits and boxes read, both matrices written; a sigmoid for each class of a candidate, two "
        "logarithms and an IoU for each pair of a ground truth and a candidate",
        exponentials=candidates * C + 2 * pairs,
        divisions=pairs,
    )


@pytest.mark.parametrize(("images", "objects"), [(4, 25), (16, 8)])
def test_peers(race, images, objects):
    args = scene([objects] * images)
    race(
        functools.partial(simota_cost, *args),
        {"torch, image by image": functools.partial(torch_costs, args)},
        op="simota_cost",
        case=f"B={images}, {objects} objects",
        verified=verify(args),
        work=floor(args),
        counted=["torch, image by image"],
    )


@sweeps(simota_cost, B=(1, 2, 4, 8, 16), G=(4, 8, 16, 32, 64), N=(2100, 8400, 33600), C=(20, 80, 320))
def sweep(axis: str, value: int) -> Arguments:
    return grown(axis, value, images=4, objects=8), {}


@sweep.each_size()
def test_growth(race, axis, value):
    call = sweep.call(axis, value)
    race(
        call,
        table="growth",
        op="simota_cost",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify(Scene(*call.args)),
        work=floor(Scene(*call.args)),
    )


def workload_simota_cost() -> Call:
    """N = 8400, images of 5 and 50 objects, C = 80"""
    args = scene([5, 50])
    return lambda: simota_cost(*args)
