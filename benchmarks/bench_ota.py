"""ota beside simota and beside Megvii's rule as dense torch operations, and a training step with each of the first two:
C = 80, float32."""

import functools
import random

import pytest
import torch

from benchmarks import floors
from benchmarks.bench_yolox_loss import step
from benchmarks.peers.transport import megvii_ota
from benchmarks.scenes import Scene, scene, undecoded
from benchmarks.sweeps import SWEEPS, sweep
from yolox_ops import Assignment, ota, simota, yolox_loss
from yolox_ops.yolox import yolox_s
from yolox_ops.yolox.assigners import ota as ota_in_order

DRAW = random.Random(0)
TO_50 = [DRAW.randint(1, 50) for _ in range(16)]
CASES = {"B=16, 1 to 50 objects": TO_50, "B=16, 50 objects": [50] * 16, "B=1, 574 objects": [574]}


def arguments(args: Scene) -> Scene:
    """Of ota, which are simota's without obj_logits."""
    return *args[:2], *args[3:]


def megvii_images(args: Scene, images: list[int], iterations: int) -> Assignment:
    """Megvii's rule in float64 on some images of the batch."""
    pred_boxes, cls_logits, points, strides, *gts = args
    chosen = pred_boxes[images], cls_logits[images], points, strides, *(t[images] for t in gts)
    return megvii_ota(*(t.double() if t.is_floating_point() else t for t in chosen), iterations=iterations)


def verify(args: Scene, tolerance: float = 0.0, iterations: int = 50) -> str:
    """The first and the last image; tests/ hold that an image's answer does not depend on its batch."""
    found, images = ota(*args, tolerance=tolerance, iterations=iterations), sorted({0, len(args[0]) - 1})
    different = int((found.matched_gt[images] != megvii_images(args, images, iterations).matched_gt).sum())
    positives = int(found.num_fg[images].sum())
    assert different <= 1 + positives * (1e-2 if tolerance else 1e-3), f"{different} anchors differ"
    return f"equal to Megvii's rule in float64 in all but {different} of {positives} positives"


@pytest.mark.parametrize("case", CASES)
def test_peers(race, case):
    inputs = scene(CASES[case])
    args = arguments(inputs)
    verify(args, tolerance=0.01)
    race(
        functools.partial(ota, *args),
        {
            "Megvii's rule, torch": functools.partial(megvii_ota, *args),
            "yolox_ops, tolerance=0.01": functools.partial(ota, *args, tolerance=0.01),
            "yolox_ops, simota": functools.partial(simota, *inputs),
        },
        op="ota",
        case=case,
        verified=verify(args),
        work=floors.ota(inputs),
        counted=["Megvii's rule, torch"],
    )


@sweep("ota")
def test_growth(race, axis, value):
    call = SWEEPS["ota"].call(axis, value)
    iterations = call.keywords["iterations"]
    race(
        call,
        table="growth",
        op="ota",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify(call.args, iterations=iterations),
        work=floors.ota((*call.args[:2], None, *call.args[2:]), iterations),
    )


@pytest.mark.parametrize("counts", [(1, 20), (50, 100)], ids=["gts=1,20", "gts=50,100"])
def test_training_step(race, counts):
    """YOLOX-S, B = 2; a step with each takes turns."""
    torch.manual_seed(0)
    model, images = yolox_s(), torch.rand(2, 3, 640, 640) * 255
    inputs = scene(list(counts))
    pred_boxes, cls_logits, obj_logits, points, strides, *gts = inputs
    outputs = undecoded(pred_boxes, points, strides), cls_logits, obj_logits

    def step_with(assigner):
        def loss(p):
            predictions = (p.pred_boxes, p.cls_logits, p.obj_logits, p.anchor_points, p.strides)
            return yolox_loss(*predictions, *gts, assigner=assigner).total

        return step(model, images, outputs, loss)

    race(
        functools.partial(step_with, ota_in_order),
        {"yolox_ops, with simota": functools.partial(step_with, simota)},
        op="training step",
        case=f"YOLOX-S with ota, B=2, {counts[0]} and {counts[1]} objects",
        verified=verify(arguments(inputs)),
    )
