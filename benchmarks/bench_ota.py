"""ota beside simota and beside Megvii's rule as dense torch operations, and a training step with each of the first two:
640 x 640, C = 80, float32, 2 threads."""

import functools
import random
import statistics
import time

import pytest
import torch

from benchmarks.bench_yolox_loss import step
from benchmarks.peers_ota import megvii_ota
from benchmarks.scenes import scene, undecoded
from yolox_ops import ota, simota, yolox_loss
from yolox_ops.yolox import yolox_s
from yolox_ops.yolox.assigners import ota as ota_in_order

torch.set_num_threads(2)
DRAW = random.Random(0)
CASES = {
    "B=16 gts=1..50": [DRAW.randint(1, 50) for _ in range(16)],
    "B=16 gts=50": [50] * 16,
    "B=1 gts=574": [574],
}
SCENES = {case: scene(counts) for case, counts in CASES.items()}


def ota_arguments(case: str) -> tuple[torch.Tensor, ...]:
    pred_boxes, cls_logits, _, *rest = SCENES[case]
    return pred_boxes, cls_logits, *rest


@pytest.mark.parametrize("case", CASES)
def test_simota(benchmark, case):
    """Of which tests/ and bench_simota.py verify the answer."""
    benchmark.group = f"ota {case}"
    benchmark(simota, *SCENES[case])


@pytest.mark.parametrize("tolerance", [0.0, 0.01])
@pytest.mark.parametrize("case", CASES)
def test_ota(benchmark, case, tolerance):
    """Verified: the assignment of Megvii's rule in float64, but for one near-tie in 1000 positives; with a tolerance,
    for one anchor in 100."""
    benchmark.group = f"ota {case}"
    args = ota_arguments(case)
    ours = ota(*args, tolerance=tolerance)
    theirs = megvii_ota(*(t.double() if t.is_floating_point() else t for t in args))
    different = int((ours.matched_gt != theirs.matched_gt).sum())
    assert different <= 1 + int(ours.num_fg.sum()) * (1e-2 if tolerance else 1e-3), f"{different} anchors differ"
    benchmark(functools.partial(ota, tolerance=tolerance), *args)


@pytest.mark.parametrize("case", CASES)
def test_megvii(benchmark, case):
    benchmark.group = f"ota {case}"
    benchmark.pedantic(megvii_ota, ota_arguments(case), rounds=2)


@pytest.mark.parametrize("counts", [(1, 20), (50, 100)], ids=["gts=1,20", "gts=50,100"])
def test_training_step(benchmark, counts):
    """YOLOX-S, B = 2; a step with simota before each with ota."""
    benchmark.group = f"training step of yolox_s B=2 gts={counts}"
    torch.manual_seed(0)
    model, images = yolox_s(), torch.rand(2, 3, 640, 640) * 255
    pred_boxes, cls_logits, obj_logits, points, strides, *gts = scene(list(counts))
    outputs = undecoded(pred_boxes, points, strides), cls_logits, obj_logits
    simota_seconds = []

    def step_with(assigner):
        def loss(p):
            predictions = (p.pred_boxes, p.cls_logits, p.obj_logits, p.anchor_points, p.strides)
            return yolox_loss(*predictions, *gts, assigner=assigner).total

        return step(model, images, outputs, loss)

    def simota_step() -> None:
        start = time.perf_counter()
        step_with(simota)
        simota_seconds.append(time.perf_counter() - start)

    step_with(ota_in_order)
    benchmark.pedantic(step_with, (ota_in_order,), setup=simota_step, rounds=15)
    benchmark.extra_info.update(
        simota_ms=round(statistics.median(simota_seconds) * 1e3, 1),
        ota_to_simota=round(benchmark.stats["median"] / statistics.median(simota_seconds), 4),
    )
