"""What share of a training step of YOLOX-S assignment and loss take, ours and Megvii's: 640 x 640, C = 80, float32. A
step is forward, loss and backward, without the optimizer's."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from benchmarks.peers.megvii import Megvii
from benchmarks.scenes import scene, undecoded
from yolox_ops import yolox_loss
from yolox_ops.yolox import YOLOX, Predictions, yolox_s

CASES = {"1 and 20": [1, 20], "50 and 100": [50, 100], "300 and 300": [300, 300]}


class Step(NamedTuple):
    total: float  # the loss
    loss_seconds: float  # from the head's outputs to their gradients: decoding, assignment, loss, backward of these
    network_seconds: float  # all else

    @property
    def share(self) -> float:
        return self.loss_seconds / (self.loss_seconds + self.network_seconds)


def step(model: YOLOX, images: Tensor, outputs: tuple[Tensor, ...], loss: Callable[[Predictions], Tensor]) -> Step:
    """A training step whose loss sees `outputs` instead of the head's own: what a fresh model says overlaps little. The
    gradients of `outputs` then go back through the network."""
    leaves = tuple(t.detach().requires_grad_() for t in outputs)
    given, times = [], []

    def replace(head: nn.Module, inputs: tuple, head_outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given.extend(head_outputs)
        times.append(time.perf_counter())
        return leaves

    model.zero_grad()
    times.append(time.perf_counter())
    with model.head.register_forward_hook(replace):
        total = loss(model.raw(images))
    total.backward()
    times.append(time.perf_counter())
    torch.autograd.backward(given, [t.grad for t in leaves])
    times.append(time.perf_counter())
    start, cut, joined, end = times
    return Step(total.item(), joined - cut, (cut - start) + (end - joined))


@pytest.mark.parametrize("case", CASES)
def test_step(benchmark, case):
    """A step with Megvii's loss before each of ours, for shares and a ratio that other work on the machine changes
    little."""
    benchmark.group = f"training step: {case}"
    torch.manual_seed(0)
    model, images = yolox_s(), torch.rand(2, 3, 640, 640) * 255
    pred_boxes, cls_logits, obj_logits, points, strides, *gts = args = scene(CASES[case])
    outputs = undecoded(pred_boxes, points, strides), cls_logits, obj_logits
    megvii = Megvii(*args)
    ours, theirs = [], []

    def our_loss(p: Predictions) -> Tensor:
        return yolox_loss(p.pred_boxes, p.cls_logits, p.obj_logits, p.anchor_points, p.strides, *gts).total

    def their_loss(p: Predictions) -> Tensor:
        return megvii.losses(p.pred_boxes, p.cls_logits, p.obj_logits)[0]

    def our_step() -> None:
        ours.append(step(model, images, outputs, our_loss))

    def their_step() -> None:
        theirs.append(step(model, images, outputs, their_loss))

    their_step()
    our_step()
    assert ours[0].total == pytest.approx(theirs[0].total, rel=1e-4)
    ours.clear()
    theirs.clear()
    benchmark.pedantic(our_step, setup=their_step, rounds=5)
    benchmark.extra_info.update(
        table="step",
        op="yolox_loss",
        case=f"YOLOX-S, B=2, {case} objects",
        verified="losses within 1e-4 of Megvii's",
        shares={
            who: {
                "loss_ms": statistics.median(s.loss_seconds for s in steps) * 1e3,
                "share": statistics.median(s.share for s in steps),
            }
            for who, steps in {"yolox_ops": ours, "Megvii YOLOX": theirs}.items()
        },
    )
