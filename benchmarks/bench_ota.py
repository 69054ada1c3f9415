"""ota beside simota and beside Megvii's rule as dense torch operations, and a training step with each of the first two:
C = 80, float32."""

import functools
import random

import pytest
import torch
from torch import Tensor

from benchmarks.bench_yolox_loss import step
from benchmarks.floors import Work, pairs_inside
from benchmarks.peers.transport import megvii_ota
from benchmarks.scenes import scene, undecoded
from benchmarks.sweeps import Arguments, grown, sweeps
from benchmarks.workloads import Call
from yolox_ops import Assignment, Scene, ota, simota, yolox_loss
from yolox_ops.yolox import yolox_s
from yolox_ops.yolox.assigners import ota as ota_in_order

DRAW = random.Random(0)
TO_50 = [DRAW.randint(1, 50) for _ in range(16)]
CASES = {"B=16, 1 to 50 objects": TO_50, "B=16, 50 objects": [50] * 16, "B=1, 574 objects": [574]}


def arguments(inputs: Scene) -> tuple[Tensor, ...]:
    """Of ota, which are simota's without obj_logits."""
    return *inputs[:2], *inputs[3:]


def megvii_images(args: tuple[Tensor, ...], images: list[int], iterations: int) -> Assignment:
    """Megvii's rule in float64 on some images of the batch."""
    pred_boxes, cls_logits, points, strides, *gts = args
    chosen = pred_boxes[images], cls_logits[images], points, strides, *(t[images] for t in gts)
    return megvii_ota(*(t.double() if t.is_floating_point() else t for t in chosen), iterations=iterations)


def verify(args: tuple[Tensor, ...], tolerance: float = 0.0, iterations: int = 50) -> str:
    """The first and the last image; tests/ hold that an image's answer does not depend on its batch."""
    found, images = ota(*args, tolerance=tolerance, iterations=iterations), sorted({0, len(args[0]) - 1})
    different = int((found.matched_gt[images] != megvii_images(args, images, iterations).matched_gt).sum())
    positives = int(found.num_fg[images].sum())
    assert different <= 1 + positives * (1e-2 if tolerance else 1e-3), f"{different} anchors differ"
    return f"equal to Megvii's rule in float64 in all but {different} of {positives} positives"


def floor(args: Scene, iterations: int = 50) -> Work:
    """Anchors in no ground truth's region meet only the background, so they are one column."""
    inside = pairs_inside(args, 2.5)
    points, gt_boxes = args[3], args[5]
    low, high = gt_boxes[..., :2] - gt_boxes[..., 2:] / 2, gt_boxes[..., :2] + gt_boxes[..., 2:] / 2
    inside &= ((points > low[:, :, None]) & (points < high[:, :, None])).all(-1)
    pairs, candidates = int(inside.sum()), int(inside.any(1).sum())
    B, N = args[0].shape[:2]
    return Work(
        N * 12 + candidates * 20 + pairs * 4 + B * (N * 12 + 8) + iterations * pairs * 4,
        "candidates' boxes and labels' logits read, outputs written, and the pairs of regions read once an iteration; "
        "four exponentials (focal loss, IoU's logarithm, plan) and an IoU for each pair",
        resident=pairs * 4,
        exponentials=4 * pairs,
        divisions=pairs,
    )


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
        work=floor(inputs),
        counted=["Megvii's rule, torch"],
    )


@sweeps(
    ota,
    B=(1, 2, 4, 8, 16, 32, 64),
    G=(8, 16, 32, 64, 128, 256, 512),
    N=(2100, 8400, 33600),
    C=(20, 80, 320),
    iterations=(25, 50, 100, 200),
)
def sweep(axis: str, value: int) -> Arguments:
    """Without objectness."""
    pred_boxes, cls_logits, _, *rest = grown(axis, value, images=1 if axis == "G" else 4, objects=16)
    return (pred_boxes, cls_logits, *rest), {"iterations": value if axis == "iterations" else 50}


@sweep.each_size()
def test_growth(race, axis, value):
    call = sweep.call(axis, value)
    iterations = call.keywords["iterations"]
    race(
        call,
        table="growth",
        op="ota",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify(call.args, iterations=iterations),
        work=floor(Scene(*call.args[:2], None, *call.args[2:]), iterations),
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


def workload_ota() -> Call:
    """N = 8400, images of 5 and 50 objects, C = 80, 50 iterations"""
    pred_boxes, cls_logits, obj_logits, *rest = scene([5, 50])
    return lambda: ota(pred_boxes, cls_logits, *rest, obj_logits=obj_logits)
