"""A training step of pixeltable-yolox's models (Megvii's code), patched and not: forward, loss and backward without
the optimizer's. float32, 2 threads; the two kinds of step take turns."""

import statistics
import time

import pytest
import torch

from benchmarks.peers import deprecated_autocast, megvii_model
from benchmarks.scenes import scene
from yolox_ops.integrations import megvii

torch.set_num_threads(2)
CASES = {
    "yolox_nano 160x160 B=8, 1 to 8 objects": ("yolox_nano", 160, [1, 2, 3, 4, 5, 6, 7, 8]),
    "yolox_s 640x640 B=2, 1 and 20 objects": ("yolox_s", 640, [1, 20]),
    "yolox_s 640x640 B=2, 50 and 100 objects": ("yolox_s", 640, [50, 100]),
    "yolox_s 640x640 B=2, 300 objects each": ("yolox_s", 640, [300, 300]),
}


@pytest.mark.parametrize("case", CASES)
def test_step(benchmark, case):
    name, size, counts = CASES[case]
    benchmark.group = f"Megvii's training step {case}"
    torch.manual_seed(0)
    model, images = megvii_model(name).train(), torch.rand(len(counts), 3, size, size) * 255
    *_, gt_boxes, gt_labels, num_gts = scene(counts, size=size)
    real = torch.arange(gt_boxes.shape[1]) < num_gts[:, None]
    labels = torch.where(real[..., None], torch.cat([gt_labels[..., None], gt_boxes], -1), 0)
    seconds = []

    def step() -> float:
        model.zero_grad()
        with deprecated_autocast():
            total = model(images, labels)["total_loss"]
        total.backward()
        return total.item()

    def unpatched_step() -> None:
        megvii.unpatch(model)
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
        megvii.patch(model)

    unpatched = step()
    assert megvii.patch(model) is model
    assert step() == pytest.approx(unpatched, rel=1e-4)
    benchmark.pedantic(step, setup=unpatched_step, rounds=7)
    benchmark.extra_info.update(
        unpatched_ms=round(statistics.median(seconds) * 1e3, 1),
        unpatched_to_patched=round(statistics.median(seconds) / benchmark.stats["median"], 3),
    )
