"""One small fixed call per op, and the process in which benchmarks/instructions.py counts the instructions of each."""

import ctypes
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

import yolox_ops
from benchmarks.scenes import random_boxes, random_detections, scene
from benchmarks.sweeps import SWEEPS

Call = Callable[[], Any]
# name: what makes its call. The docstring says the workload in words; the record keeps them.
WORKLOADS: dict[str, Callable[[], Call]] = {}


def workload(make: Callable[[], Call]) -> Callable[[], Call]:
    WORKLOADS[make.__name__] = make
    return make


def words(name: str) -> str:
    return WORKLOADS[name].__doc__ or ""


def random_scene() -> tuple[Tensor, ...]:
    """640 x 640 pixels (N = 8400), images of 5 and 50 objects, C = 80."""
    return scene([5, 50])


def gradient(function: Callable[..., Tensor], *boxes: Tensor) -> Call:
    """The backward pass of CIoU alone."""
    inputs = [b.requires_grad_() for b in boxes]
    value = function(*inputs, kind="ciou")
    ones = torch.ones_like(value)
    return lambda: torch.autograd.grad(value, inputs, ones, retain_graph=True)


@workload
def pairwise_iou() -> Call:
    """IoU, 300 x 300 boxes"""
    a, b = random_boxes(300), random_boxes(300, seed=1)
    return lambda: yolox_ops.pairwise_iou(a, b)


@workload
def pairwise_iou_backward() -> Call:
    """CIoU, 100 x 100 boxes"""
    return gradient(yolox_ops.pairwise_iou, random_boxes(100), random_boxes(100, seed=1))


@workload
def aligned_iou() -> Call:
    """CIoU, 10,000 pairs"""
    a, b = random_boxes(10_000), random_boxes(10_000, seed=1)
    return lambda: yolox_ops.aligned_iou(a, b, kind="ciou")


@workload
def aligned_iou_backward() -> Call:
    """CIoU, 10,000 pairs"""
    return gradient(yolox_ops.aligned_iou, random_boxes(10_000), random_boxes(10_000, seed=1))


@workload
def simota_cost() -> Call:
    """N = 8400, images of 5 and 50 objects, C = 80"""
    args = random_scene()
    return lambda: yolox_ops.simota_cost(*args)


@workload
def dynamic_k_match() -> Call:
    """the matrices of simota_cost's workload"""
    cost, iou = yolox_ops.simota_cost(*(args := random_scene()))
    return lambda: yolox_ops.dynamic_k_match(cost, iou, args[-1])


@workload
def simota() -> Call:
    """N = 8400, images of 5 and 50 objects, C = 80"""
    args = random_scene()
    return lambda: yolox_ops.simota(*args)


@workload
def ota() -> Call:
    """N = 8400, images of 5 and 50 objects, C = 80, 50 iterations"""
    pred_boxes, cls_logits, obj_logits, *rest = random_scene()
    return lambda: yolox_ops.ota(pred_boxes, cls_logits, *rest, obj_logits=obj_logits)


@workload
def sinkhorn() -> Call:
    """2 x 20 x 1000, 10 iterations"""
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(2, 20, 1000, generator=generator) * 5
    supply = torch.full((2, 20), 50.0)
    demand = torch.ones(2, 1000)
    return lambda: yolox_ops.sinkhorn(cost, supply, demand, iterations=10)


@workload
def soft_nms() -> Call:
    """gaussian, 2000 boxes of 5 labels"""
    detections = random_detections(2000, kinds=5)
    return lambda: yolox_ops.soft_nms(*detections)


@workload
def batched_soft_nms() -> Call:
    """hard, 4 images of 2000 boxes of one label"""
    boxes, scores, _ = random_detections(4, 2000)
    return lambda: yolox_ops.batched_soft_nms(boxes, scores, method="hard")


def swept() -> Iterator[tuple[str, Call]]:
    for op, sweep in SWEEPS.items():
        for axis, value in sweep:
            yield f"{op} {axis} {value}", sweep.call(axis, value)


def main(what: str, switch: str) -> None:
    """Runs the calls of "ops" or of "growth" twice, the second time under callgrind, which the library `switch`
    (instructions.SWITCH) turns on and off: what only the first call of an op does is no work of its kernel. Prints
    build_info() and the calls in words, as JSON."""
    torch.set_num_threads(1)
    callgrind, said = ctypes.CDLL(switch), {}
    calls = swept() if what == "growth" else ((name, make()) for name, make in WORKLOADS.items())
    for name, call in calls:
        call()
        callgrind.start()
        call()
        callgrind.stop(name.encode())
        said[name] = words(name) if name in WORKLOADS else name
    json.dump({"build": yolox_ops.build_info(), "calls": said}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
