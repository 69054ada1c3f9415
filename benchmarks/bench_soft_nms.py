"""soft_nms and batched_soft_nms beside what people call for it: boxes of 1 to 60 pixels on a canvas of 600."""

import functools

import pytest
import torch
from torch import Tensor

from benchmarks import floors
from benchmarks.peers import nms as peers_nms
from benchmarks.scenes import random_detections
from benchmarks.sweeps import SWEEPS, sweep
from python_ref.soft_nms import soft_nms as reference
from yolox_ops import batched_soft_nms, pairwise_iou, soft_nms

SIZE = 5000
METHODS = ("gaussian", "linear", "hard", "mean_gaussian")


def verify_by_reference(boxes: Tensor, scores: Tensor, labels: Tensor, method: str = "gaussian") -> str:
    """The first 300 boxes, drawn closer together."""
    boxes, scores, labels = boxes[:300] / 3, scores[:300], labels[:300]
    indices, decayed = soft_nms(boxes, scores, labels, method=method)
    expected = reference(boxes.tolist(), scores.tolist(), labels.tolist(), method=method)
    assert sorted(indices.tolist()) == sorted(i for i, _ in expected)
    torch.testing.assert_close(decayed, torch.tensor([score for _, score in expected]), rtol=1e-5, atol=1e-5)
    return "300 boxes equal to the reference"


def verify_whole(boxes: Tensor, scores: Tensor, labels: Tensor, method: str = "gaussian") -> str:
    """All boxes, by what a right answer must be: the scores fall, each is its box's own times the weights of those
    selected before it, and the boxes left out end below the threshold. Not for mean_gaussian, whose weights depend on
    the scores that remain."""
    indices, decayed = soft_nms(boxes, scores, labels, method=method)
    assert (decayed.diff() <= 0).all()
    iou = pairwise_iou(boxes.double(), boxes[indices].double()) * (labels[:, None] == labels[indices])
    weights = {"gaussian": (-iou * iou / 0.5).exp(), "linear": 1 - iou * (iou > 0.3), "hard": (iou <= 0.3).double()}
    before = torch.full((len(boxes),), len(indices))
    before[indices] = torch.arange(len(indices))
    score = scores * weights[method].where(torch.arange(len(indices)) < before[:, None], 1.0).prod(1)
    torch.testing.assert_close(decayed.double(), score[indices], rtol=1e-5, atol=1e-7)
    assert (score[before == len(indices)] < 1e-3 * (1 + 1e-5)).all()
    return "every score is its box's times the weights of those selected before"


def ensemble(boxes: Tensor, scores: Tensor, labels: Tensor, method: str):
    """ensemble_boxes.soft_nms, verified; in float64, as it always is."""
    call = peers_nms.ensemble(boxes.numpy(), scores.numpy(), labels.numpy(), method)
    indices, _ = soft_nms(boxes.double(), scores.double(), labels, method=method)
    assert sorted(call().tolist()) == sorted((boxes[indices].double() / 1024).tolist())
    return call


@pytest.mark.parametrize("kinds", [1, 80])
@pytest.mark.parametrize("method", METHODS)
def test_peers(race, method, kinds):
    inputs = random_detections(SIZE, kinds=kinds)
    verified = verify_by_reference(*inputs, method)
    if method != "mean_gaussian":
        verified += "; " + verify_whole(*inputs, method)
    gaussian = method == "gaussian"
    race(
        functools.partial(soft_nms, *inputs, method=method),
        {"ensemble_boxes": ensemble(*inputs, method)} if method in ("gaussian", "linear") else {},
        op="soft_nms",
        case=f"{SIZE} boxes of {kinds} label{'s' * (kinds > 1)}, {method}",
        verified=verified,
        work=floors.soft_nms(inputs[0][None], inputs[2][None]) if gaussian else None,
    )


def verify_batch(boxes: Tensor, scores: Tensor, labels: Tensor) -> str:
    result = batched_soft_nms(boxes, scores, labels)
    for b in range(len(boxes)):
        indices, decayed = soft_nms(boxes[b], scores[b], labels[b])
        assert torch.equal(result.indices[b, : result.counts[b]], indices)
        assert torch.equal(result.scores[b, : result.counts[b]], decayed)
    return "each image equal to soft_nms of it alone; of the first " + verify_whole(boxes[0], scores[0], labels[0])


def test_batch(race):
    boxes, scores, labels = random_detections(16, 1000, kinds=80)
    race(
        functools.partial(batched_soft_nms, boxes, scores, labels),
        {"yolox_ops, image by image": lambda: [soft_nms(*image) for image in zip(boxes, scores, labels, strict=True)]},
        op="soft_nms",
        case="B=16, 1000 boxes of 80 labels, gaussian",
        verified=verify_batch(boxes, scores, labels),
        work=floors.soft_nms(boxes, labels),
    )


@sweep("soft_nms")
def test_growth(race, axis, value):
    call = SWEEPS["soft_nms"].call(axis, value)
    race(
        call,
        table="growth",
        op="soft_nms",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify_batch(*call.args),
        work=floors.soft_nms(call.args[0], call.args[2]),
    )
