"""soft_nms and batched_soft_nms beside what people call for it: boxes of 1 to 60 pixels on a canvas of 600."""

import functools

import pytest
import torch
from torch import Tensor

from benchmarks.floors import Work
from benchmarks.peers import nms as peers_nms
from benchmarks.scenes import random_detections
from benchmarks.sweeps import Arguments, sweeps
from benchmarks.workloads import Call
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


def floor(
    boxes: Tensor,  # [B, N, 4]
    labels: Tensor | None,  # [B, N]
) -> Work:
    """Gaussian; each pair of boxes that overlap meets once."""
    meetings = 0
    for image, kinds in zip(boxes, torch.zeros(boxes.shape[:2]) if labels is None else labels, strict=True):
        for rows in torch.arange(len(image)).split(500):  # of 500 x N pairs at once
            low, high = image[rows, None, :2], image[rows, None, 2:]
            touch = (torch.minimum(high, image[:, 2:]) > torch.maximum(low, image[:, :2])).all(-1)
            meetings += int((touch & (kinds[rows, None] == kinds) & (rows[:, None] < torch.arange(len(image)))).sum())
    count = boxes.shape[0] * boxes.shape[1]
    return Work(
        count * (28 + 12),
        "boxes, scores and labels read, indices and scores written; an exponential and an IoU for each two boxes that "
        "overlap, of which a few are gone before they meet",
        exponentials=meetings,
        divisions=meetings,
    )


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
        work=floor(inputs[0][None], inputs[2][None]) if gaussian else None,
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
        work=floor(boxes, labels),
    )


@sweeps(
    batched_soft_nms,
    boxes=(500, 1000, 2000, 4000, 8000),
    labels=(1, 2, 4, 8, 16, 32, 64),
    B=(1, 2, 4, 8, 16, 32),
)
def sweep(axis: str, value: int) -> Arguments:
    """The canvas grows with the boxes, so that each goes on overlapping as many: what the op computes is a weight for
    each two boxes that overlap. With the labels these become fewer."""
    boxes = value if axis == "boxes" else 1000 if axis == "B" else 4000
    shape = (value if axis == "B" else 1), boxes
    kinds = value if axis == "labels" else 1
    return random_detections(*shape, canvas=600 * (boxes / 4000) ** 0.5, kinds=kinds), {}


@sweep.each_size()
def test_growth(race, axis, value):
    call = sweep.call(axis, value)
    race(
        call,
        table="growth",
        op="soft_nms",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify_batch(*call.args),
        work=floor(call.args[0], call.args[2]),
    )


def workload_soft_nms() -> Call:
    """gaussian, 2000 boxes of 5 labels"""
    detections = random_detections(2000, kinds=5)
    return lambda: soft_nms(*detections)


def workload_batched_soft_nms() -> Call:
    """hard, 4 images of 2000 boxes of one label"""
    boxes, scores, _ = random_detections(4, 2000)
    return lambda: batched_soft_nms(boxes, scores, method="hard")
