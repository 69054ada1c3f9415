"""A training step of pixeltable-yolox's models (Megvii's code), patched and not: forward, loss and backward without the
optimizer's; float32."""

import copy

import pytest
import torch

from benchmarks.peers.megvii import deprecated_autocast, megvii_model
from benchmarks.scenes import scene
from yolox_ops.integrations import megvii

CASES = {
    "YOLOX-Nano, 160 x 160, B=8, 1 to 8 objects": ("yolox_nano", 160, [1, 2, 3, 4, 5, 6, 7, 8]),
    "YOLOX-S, B=2, 1 and 20 objects": ("yolox_s", 640, [1, 20]),
    "YOLOX-S, B=2, 50 and 100 objects": ("yolox_s", 640, [50, 100]),
    "YOLOX-S, B=2, 300 objects each": ("yolox_s", 640, [300, 300]),
}


@pytest.mark.parametrize("case", CASES)
def test_step(race, case):
    name, size, counts = CASES[case]
    torch.manual_seed(0)
    model, images = megvii_model(name).train(), torch.rand(len(counts), 3, size, size) * 255
    patched = megvii.patch(copy.deepcopy(model))
    *_, gt_boxes, gt_labels, num_gts = scene(counts, size=size)
    real = torch.arange(gt_boxes.shape[1]) < num_gts[:, None]
    labels = torch.where(real[..., None], torch.cat([gt_labels[..., None], gt_boxes], -1), 0)

    def step(module: torch.nn.Module) -> float:
        module.zero_grad()
        with deprecated_autocast():
            total = module(images, labels)["total_loss"]
        total.backward()
        return total.item()

    assert step(patched) == pytest.approx(step(model), rel=1e-4)
    race(
        lambda: step(patched),
        {"as it is": lambda: step(model)},
        op="Megvii YOLOX, patched",
        case=case,
        verified="losses within 1e-4 of the unpatched model's",
    )
