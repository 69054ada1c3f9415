"""Compares YOLOXOpsSimOTAAssigner with the SimOTAAssigner of mmdet on random images of mixed size.

    python -m benchmarks.parity.mmdet --images 1000

Anchors that differ must be near-ties of the float64 reference (python_ref/exactness.py). mmdet's answer may also rest
on penalised costs within 1/128 of each other, what float32 rounds to at 1e5; ours may not. All else is an error.
"""

import argparse
import sys
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.parity.presets import random_sizes
from benchmarks.peers.mmdet import TASK_UTILS, InstanceData, old_spellings
from benchmarks.scenes import corners, scene
from python_ref.exactness import check_matching
from python_ref.simota_cost import simota_cost as reference
from yolox_ops import PRESETS

SPACING = 2**-7  # of float32 numbers at the penalty
OURS, THEIRS = (TASK_UTILS.build({"type": name}) for name in ("YOLOXOpsSimOTAAssigner", "SimOTAAssigner"))


class Image(NamedTuple):
    """What mmdet's head hands its assigner."""

    pred: Any  # InstanceData: bboxes, scores, priors
    gts: Any  # InstanceData: bboxes, labels


def image(gts: int, classes: int = 80, size: int = 640, seed: int = 0) -> Image:
    """Boxes of every second image have two decimals, as COCO's, and are cut at an image border on a prior of stride 8,
    which runs through priors."""
    pred_boxes, cls, obj, points, strides, gt_boxes, labels, _ = scene([gts], classes, size, seed)
    bboxes = corners(gt_boxes[0])
    if seed % 2:
        bboxes = ((bboxes.double() * 100).round() / 100).clamp(0, size - 20).float()
        bboxes[:, 2:] = torch.maximum(bboxes[:, 2:], bboxes[:, :2] + 1)
    scores = (cls[0].sigmoid() * obj[0].sigmoid()[:, None]).sqrt()
    priors = torch.cat([points, strides[:, None], strides[:, None]], -1)
    return Image(
        InstanceData(bboxes=corners(pred_boxes[0]), scores=scores, priors=priors),
        InstanceData(bboxes=bboxes, labels=labels[0]),
    )


def random_image(seed: int) -> Image:
    return image(*random_sizes(seed), seed)


def reference_costs(pred: Any, gts: Any) -> tuple[list[list[float]], list[list[float]]]:
    """cost and iou of the float64 reference, from the corners and scores that the assigners see."""

    def centred(boxes: Tensor) -> list[list[float]]:
        low, high = boxes.double().split(2, -1)
        return torch.cat([(low + high) / 2, high - low], -1).tolist()

    return reference(
        centred(pred.bboxes),
        torch.logit(pred.scores.double()).tolist(),
        None,
        pred.priors[:, :2].tolist(),
        pred.priors[:, 2].tolist(),
        centred(gts.bboxes),
        gts.labels.tolist(),
        **PRESETS["mmdet"],
    )


class Found(NamedTuple):
    positives: int
    different: int  # anchors
    ours_allowed: int  # anchors of ours that are not the reference's: near-ties
    theirs_allowed: int  # of mmdet's: near-ties, and costs that SPACING makes equal


def compare(pred: Any, gts: Any, ours: Any = OURS, theirs: Any = THEIRS) -> Found:
    """Both assigners on one image; raises AssertionError where they differ by more than the allowance."""
    with old_spellings():
        a, b = ours.assign(pred, gts), theirs.assign(pred, gts)
    assert a.num_gts == b.num_gts
    for name in ("gt_inds", "labels", "max_overlaps"):
        assert getattr(a, name).dtype == getattr(b, name).dtype, name
    different = a.gt_inds != b.gt_inds
    assert torch.equal(a.labels[~different], b.labels[~different])
    torch.testing.assert_close(a.max_overlaps[~different], b.max_overlaps[~different], rtol=1e-5, atol=1e-5)
    allowed = [0, 0]
    if different.any():
        costs = reference_costs(pred, gts)
        allowed = [
            check_matching((answer.gt_inds - 1).tolist(), *costs, penalty=1e5, spacing=spacing)
            for answer, spacing in ((a, 0.0), (b, SPACING))
        ]
    return Found(int((a.gt_inds > 0).sum()), int(different.sum()), *allowed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    sums = [0, 0, 0, 0]
    for i in range(options.images):
        sums = [a + b for a, b in zip(sums, compare(*random_image(options.first_seed + i)), strict=True)]
        if (i + 1) % 100 == 0 or i + 1 == options.images:
            print(
                "{} images, {} positives, {} differ: {} of ours are a near-tie, {} of mmdet's a near-tie or one of "
                "penalised costs that float32 rounds to 1/128".format(i + 1, *sums),
                flush=True,
            )
    return int(sums[1] * 1000 > sums[0])


if __name__ == "__main__":
    sys.exit(main())
