"""mmdet's SimOTAAssigner beside YOLOXOpsSimOTAAssigner: one image, a batch, and a training step of mmdet's own YOLOX-S
by its own config. 640 x 640, N = 8400, C = 80, float32."""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.parity.mmdet import OURS, THEIRS, compare, image
from benchmarks.peers.mmdet import InstanceData, detector, detector_config, old_spellings, samples
from benchmarks.scenes import corners, scene, undecoded

SIZE = 640
PEER = "mmdet's SimOTAAssigner"


def equal(pred: Any, real: Any) -> str:
    different = compare(pred, real).different
    assert different <= 1
    return f"equal to mmdet's in all but {different} anchors"


@pytest.mark.parametrize("gts", [1, 20, 100])
def test_assign(race, gts):
    pred, real = image(gts)
    with old_spellings():
        race(
            lambda: OURS.assign(pred, real),
            {PEER: lambda: THEIRS.assign(pred, real)},
            op="mmdet's YOLOX, patched",
            case=f"assign, {gts} object{'s' * (gts > 1)}",
            verified=equal(pred, real),
        )


def test_assign_batch(race):
    scenes = [image(gts, seed=gts) for gts in (1, 4, 8, 12, 18, 25, 37, 50)]
    batch = [torch.stack([pred[name] for pred, _ in scenes]) for name in ("bboxes", "scores")]
    args = *batch, scenes[0].pred.priors, [gts for _, gts in scenes]
    for result, (pred, gts) in zip(OURS.assign_batch(*args), scenes, strict=True):
        equal(pred, gts)
        assert torch.equal(result.gt_inds, OURS.assign(pred, gts).gt_inds)
    with old_spellings():
        race(
            lambda: OURS.assign_batch(*args),
            {PEER: lambda: [THEIRS.assign(*one) for one in scenes]},
            op="mmdet's YOLOX, patched",
            case="assign_batch, B=8, 1 to 50 objects",
            verified="each image equal to mmdet's in all but one anchor",
        )


def by_level(values: Tensor) -> list[Tensor]:
    """[B, N, channels] as the head says it, [B, channels, h, w] a level."""
    sizes = [SIZE // stride for stride in (8, 16, 32)]
    levels = values.split([size**2 for size in sizes], 1)
    return [v.mT.reshape(len(v), -1, size, size) for v, size in zip(levels, sizes, strict=True)]


def training_step(model: Any, images: Tensor, labelled: list) -> float:
    """Forward, loss and backward, without the optimizer's part. The loss."""
    model.zero_grad()
    total = sum(model.loss(images, labelled).values())
    total.backward()
    return total.item()


@pytest.mark.parametrize("counts", [[1, 20], [50, 100]], ids=str)
def test_training_step(race, tmp_path, counts):
    """The loss sees outputs of a half-trained head, as what a fresh one says overlaps little; its gradients go back
    through the network."""
    pred_boxes, cls_logits, obj_logits, points, strides, gt_boxes, gt_labels, _ = scene(counts)
    outputs = [by_level(v) for v in (cls_logits, undecoded(pred_boxes, points, strides), obj_logits[..., None])]
    gts = [InstanceData(bboxes=corners(gt_boxes[b, :n]), labels=gt_labels[b, :n]) for b, n in enumerate(counts)]
    images, labelled = torch.rand(2, 3, SIZE, SIZE) * 255, samples(gts, SIZE)

    def replace(head: torch.nn.Module, inputs: tuple, heads: tuple) -> tuple:
        return tuple(
            [given + (o - o.detach()) for given, o in zip(*kind, strict=True)]
            for kind in zip(outputs, heads, strict=True)
        )

    models = [detector(detector_config("yolox_s", tmp_path, patched)) for patched in (True, False)]
    for model in models:
        model.bbox_head.register_forward_hook(replace)
    with old_spellings():
        ours, theirs = (training_step(model, images, labelled) for model in models)
        assert ours == pytest.approx(theirs, rel=1e-4)
        race(
            lambda: training_step(models[0], images, labelled),
            {PEER: lambda: training_step(models[1], images, labelled)},
            op="mmdet's YOLOX, patched",
            case=f"training step of YOLOX-S, B=2, {counts[0]} and {counts[1]} objects",
            verified="losses within 1e-4 of the unpatched model's",
        )
