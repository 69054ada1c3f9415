"""mmdet's SimOTAAssigner beside YOLOXOpsSimOTAAssigner: one image, a batch, and a training step of mmdet's own YOLOX-S
by its own config. 640 x 640, N = 8400, C = 80, float32, 2 threads."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.parity_mmdet import OURS, THEIRS, compare, image
from benchmarks.peers_mmdet import InstanceData, detector, detector_config, old_spellings, samples
from benchmarks.scenes import corners, scene, undecoded

torch.set_num_threads(2)
SIZE = 640


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def beside_each_other(benchmark, ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> None:
    """A call of theirs before each of ours, for a ratio that other work on the machine changes little."""
    times: list[tuple[float, float]] = []
    peer: list[float] = []
    with old_spellings():
        benchmark.pedantic(
            lambda: times.append((seconds(ours), peer[-1])), setup=lambda: peer.append(seconds(theirs)), rounds=rounds
        )
    benchmark.extra_info.update(
        ours_ms=round(statistics.median(a for a, _ in times) * 1e3, 2),
        peer_ms=round(statistics.median(b for _, b in times) * 1e3, 2),
        ratio_to_peer=round(statistics.median(b / a for a, b in times), 2),
    )


@pytest.mark.parametrize("gts", [1, 20, 100])
def test_assign(benchmark, gts):
    benchmark.group = f"mmdet assign gts={gts}"
    pred, real = image(gts)
    assert compare(pred, real).different <= 1
    beside_each_other(benchmark, lambda: OURS.assign(pred, real), lambda: THEIRS.assign(pred, real), rounds=15)


def test_assign_batch(benchmark):
    benchmark.group = "mmdet assign_batch B=8 gts=1..50"
    scenes = [image(gts, seed=gts) for gts in (1, 4, 8, 12, 18, 25, 37, 50)]
    batch = [torch.stack([pred[name] for pred, _ in scenes]) for name in ("bboxes", "scores")]
    args = *batch, scenes[0].pred.priors, [gts for _, gts in scenes]
    for result, (pred, gts) in zip(OURS.assign_batch(*args), scenes, strict=True):
        assert compare(pred, gts).different <= 1
        assert torch.equal(result.gt_inds, OURS.assign(pred, gts).gt_inds)
    beside_each_other(
        benchmark, lambda: OURS.assign_batch(*args), lambda: [THEIRS.assign(*one) for one in scenes], rounds=10
    )


def by_level(values: Tensor) -> list[Tensor]:
    """[B, N, channels] as the head says it, [B, channels, h, w] a level."""
    sizes = [SIZE // stride for stride in (8, 16, 32)]
    levels = values.split([size**2 for size in sizes], 1)
    return [v.mT.reshape(len(v), -1, size, size) for v, size in zip(levels, sizes, strict=True)]


class Timed:
    """An assigner that notes how long it takes."""

    def __init__(self, assigner: Any) -> None:
        self.assigner, self.seconds = assigner, 0.0

    def assign(self, *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = self.assigner.assign(*args, **kwargs)
        self.seconds += time.perf_counter() - start
        return result


def training_step(model: Any, images: Tensor, labelled: list) -> float:
    """Forward, loss and backward, without the optimizer's part. The loss."""
    model.zero_grad()
    total = sum(model.loss(images, labelled).values())
    total.backward()
    return total.item()


@pytest.mark.parametrize("counts", [[1, 20], [50, 100]], ids=str)
def test_training_step(benchmark, tmp_path, counts):
    """The loss sees outputs of a half-trained head, as what a fresh one says overlaps little; its gradients go back
    through the network."""
    benchmark.group = f"mmdet training step of YOLOX-S B=2 gts={counts}"
    pred_boxes, cls_logits, obj_logits, points, strides, gt_boxes, gt_labels, _ = scene(counts)
    outputs = [by_level(v) for v in (cls_logits, undecoded(pred_boxes, points, strides), obj_logits[..., None])]
    gts = [InstanceData(bboxes=corners(gt_boxes[b, :n]), labels=gt_labels[b, :n]) for b, n in enumerate(counts)]
    images, labelled = torch.rand(2, 3, SIZE, SIZE) * 255, samples(gts, SIZE)
    models, assigners = [], []

    def replace(head: torch.nn.Module, inputs: tuple, own: tuple) -> tuple:
        return tuple(
            [given + (o - o.detach()) for given, o in zip(*kind, strict=True)]
            for kind in zip(outputs, own, strict=True)
        )

    for patched in (True, False):
        model = detector(detector_config("yolox_s", tmp_path, patched))
        model.bbox_head.assigner = Timed(model.bbox_head.assigner)
        model.bbox_head.register_forward_hook(replace)
        models.append(model)
        assigners.append(model.bbox_head.assigner)
    with old_spellings():
        ours, theirs = (training_step(model, images, labelled) for model in models)
    assert ours == pytest.approx(theirs, rel=1e-4)
    for assigner in assigners:
        assigner.seconds = 0.0
    beside_each_other(benchmark, *(lambda m=m: training_step(m, images, labelled) for m in models), rounds=5)
    benchmark.extra_info.update(
        ours_assign_ms=round(assigners[0].seconds / 5 * 1e3, 2), peer_assign_ms=round(assigners[1].seconds / 5 * 1e3, 2)
    )
