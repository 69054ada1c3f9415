"""yolox_ops.numpy beside what people call on arrays: OpenCV, ensemble_boxes and powerboxes. 5000 boxes of 1 to 59 whole
pixels, as OpenCV takes them, on a canvas of 600."""

import functools

import numpy as np
import powerboxes
import pytest

from benchmarks.peers import nms as peers_nms
from python_ref.soft_nms import soft_nms as reference
from yolox_ops.numpy import pairwise_iou, soft_nms

SIZE, CANVAS = 5000, 600
RNG = np.random.default_rng(0)
CORNER = RNG.integers(0, CANVAS, (SIZE, 2))
BOXES = np.concatenate([CORNER, CORNER + RNG.integers(1, 60, (SIZE, 2))], 1).astype(np.float32)
SCORES = ((RNG.permutation(SIZE) + 1) / SIZE).astype(np.float32)
LABELS = {"one label": None, "80 labels": RNG.integers(0, 80, SIZE)}
FLOOR = 0.0501  # no score: OpenCV drops one that equals it


def verify(method: str, labels: np.ndarray | None) -> str:
    few = None if labels is None else labels[:300]
    indices, decayed = soft_nms(BOXES[:300], SCORES[:300], few, method=method)
    expected = reference(
        BOXES[:300].tolist(), SCORES[:300].tolist(), few if few is None else few.tolist(), method=method
    )
    assert sorted(indices.tolist()) == sorted(i for i, _ in expected)
    np.testing.assert_allclose(decayed, [score for _, score in expected], rtol=1e-5, atol=1e-5)
    return "300 boxes equal to the reference; each peer keeps the same boxes of all"


@pytest.mark.parametrize("kinds", LABELS)
@pytest.mark.parametrize("method", ["gaussian", "linear"])
def test_soft_nms(race, method, kinds):
    labels = LABELS[kinds]
    ours = functools.partial(soft_nms, BOXES, SCORES, labels, method=method)
    kept = ours()[0]
    peers = {"ensemble_boxes": peers_nms.ensemble(BOXES, SCORES, labels, method)}
    wide = soft_nms(BOXES.astype(np.float64), SCORES.astype(np.float64), labels, method=method)[0]
    theirs = peers["ensemble_boxes"]()
    assert sorted(theirs.tolist()) == sorted((BOXES[wide].astype(np.float64) / 1024).tolist())
    if labels is None:
        peers["OpenCV"] = peers_nms.opencv(BOXES, SCORES, labels, method)
        assert sorted(peers["OpenCV"]().tolist()) == sorted(kept.tolist())
    race(ours, peers, op="numpy.soft_nms", case=f"{SIZE} boxes, {kinds}, {method}", verified=verify(method, labels))


@pytest.mark.parametrize("kinds", LABELS)
def test_hard_nms(race, kinds):
    labels = LABELS[kinds]
    ours = functools.partial(soft_nms, BOXES, SCORES, labels, method="hard", score_threshold=FLOOR)
    opencv = peers_nms.opencv(BOXES, SCORES, labels, "hard", FLOOR)
    assert sorted(opencv().tolist()) == sorted(ours()[0].tolist())
    race(
        ours,
        {"OpenCV": opencv},
        op="numpy.soft_nms",
        case=f"{SIZE} boxes, {kinds}, hard",
        verified="the same boxes as OpenCV's",
    )


def test_pairwise_iou(race):
    np.testing.assert_allclose(
        1 - powerboxes.parallel_iou_distance(BOXES, BOXES), pairwise_iou(BOXES, BOXES), atol=1e-6
    )
    race(
        functools.partial(pairwise_iou, BOXES, BOXES),
        {"powerboxes, parallel": functools.partial(powerboxes.parallel_iou_distance, BOXES, BOXES)},
        op="numpy.pairwise_iou",
        case=f"{SIZE} x {SIZE}",
        verified="within 1e-6 of powerboxes's",
    )
