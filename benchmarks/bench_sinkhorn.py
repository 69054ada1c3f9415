"""sinkhorn beside POT and Megvii's dense iteration, on the transport problems of OTA: 50 objects an image, 640 x 640,
float32, 50 iterations, 2 threads."""

import pytest
import torch

from benchmarks.peers_ota import megvii_ota_problem, megvii_sinkhorn, pot_sinkhorn
from benchmarks.scenes import scene
from yolox_ops import sinkhorn

torch.set_num_threads(2)
CASES = {"B=16 M=51 N=8400": 16, "B=1 M=51 N=8400": 1}


def problem(images: int) -> tuple[torch.Tensor, ...]:
    """cost [B, 51, 8400], supply, demand."""
    pred_boxes, cls_logits, _, points, strides, gt_boxes, gt_labels, _ = scene([50] * images)
    parts = [
        megvii_ota_problem(pred_boxes[b], cls_logits[b], points, strides, gt_boxes[b], gt_labels[b])[:2]
        for b in range(images)
    ]
    cost, supply = (torch.stack(tensors) for tensors in zip(*parts, strict=True))
    return cost, supply, torch.ones(images, cost.shape[2])


PROBLEMS = {case: problem(images) for case, images in CASES.items()}


def by_image(function):
    return lambda *tensors: torch.stack([function(*image) for image in zip(*tensors, strict=True)])


RUNS = {
    "yolox_ops": sinkhorn,
    "POT, NumPy": by_image(lambda *image: torch.from_numpy(pot_sinkhorn(*(t.numpy() for t in image)))),
    "POT, torch": by_image(pot_sinkhorn),
    "Megvii's rule, torch": megvii_sinkhorn,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", RUNS)
def test_sinkhorn(benchmark, case, name):
    """Verified: plans of float32 within 1e-4 of Megvii's rule in float64."""
    benchmark.group = f"sinkhorn {case}"
    plan = RUNS[name](*PROBLEMS[case])
    expected = megvii_sinkhorn(*(t.double() for t in PROBLEMS[case]))
    torch.testing.assert_close(plan.double(), expected, rtol=0, atol=1e-4)
    benchmark.pedantic(RUNS[name], PROBLEMS[case], rounds=10 if name == "yolox_ops" else 2)
