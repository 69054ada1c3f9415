"""yolox_ops.numpy beside what people call on arrays: OpenCV, ensemble_boxes and powerboxes. 5000 boxes of 1 to 59 whole
pixels, as OpenCV takes them, on a canvas of 600."""

import cv2
import ensemble_boxes
import numpy as np
import powerboxes
import pytest

from python_ref.soft_nms import soft_nms as reference
from yolox_ops.numpy import batched_soft_nms, pairwise_iou, soft_nms

SIZE, CANVAS = 5000, 600
RNG = np.random.default_rng(0)
XYWH = np.concatenate([RNG.integers(0, CANVAS, (SIZE, 2)), RNG.integers(1, 60, (SIZE, 2))], 1).astype(np.float32)
BOXES = np.concatenate([XYWH[:, :2], XYWH[:, :2] + XYWH[:, 2:]], 1)
SCORES = ((RNG.permutation(SIZE) + 1) / SIZE).astype(np.float32)
LABELS = RNG.integers(0, 80, SIZE)
FLOOR = 0.0501  # no score: OpenCV drops one that equals it
HARD = {"method": "hard", "score_threshold": FLOOR}
CODES = {"linear": cv2.dnn.SOFT_NMSMETHOD_SOFTNMS_LINEAR, "gaussian": cv2.dnn.SOFT_NMSMETHOD_SOFTNMS_GAUSSIAN}
each_method = pytest.mark.parametrize("method", CODES)


@pytest.mark.benchmark(group="numpy soft_nms 5000, one label")
@each_method
def test_yolox_ops(benchmark, method):
    indices, decayed = soft_nms(BOXES[:600], SCORES[:600], method=method)
    expected = reference(BOXES[:600].tolist(), SCORES[:600].tolist(), method=method)
    assert sorted(indices.tolist()) == sorted(i for i, _ in expected)
    np.testing.assert_allclose(decayed, [score for _, score in expected], rtol=1e-5, atol=1e-5)
    benchmark(soft_nms, BOXES, SCORES, method=method)


@pytest.mark.benchmark(group="numpy soft_nms 5000, one label")
@each_method
def test_opencv(benchmark, method):
    boxes = XYWH.astype(np.int32)
    arguments = boxes, SCORES, 1e-3, 0.3, 0, 0.5, CODES[method]
    decayed, kept = cv2.dnn.softNMSBoxes(*arguments)
    indices, expected = soft_nms(BOXES, SCORES, method=method)
    assert sorted(kept.ravel().tolist()) == sorted(indices.tolist())
    np.testing.assert_allclose(decayed.ravel(), expected, rtol=1e-4, atol=1e-6)
    benchmark(cv2.dnn.softNMSBoxes, *arguments)


@pytest.mark.benchmark(group="numpy soft_nms 5000, one label")
def test_ensemble_boxes(benchmark):
    benchmark(ensemble_boxes.soft_nms, *of_ensemble_boxes(np.zeros(SIZE)))


@pytest.mark.benchmark(group="numpy soft_nms 5000, 80 labels")
def test_yolox_ops_of_labels(benchmark):
    benchmark(soft_nms, BOXES, SCORES, LABELS)


@pytest.mark.benchmark(group="numpy soft_nms 5000, 80 labels")
def test_ensemble_boxes_of_labels(benchmark):
    benchmark(ensemble_boxes.soft_nms, *of_ensemble_boxes(LABELS))


def of_ensemble_boxes(labels):
    """The arguments of its soft_nms, gaussian by default, once it has kept what yolox_ops keeps."""
    boxes, scores = BOXES.astype(np.float64) / 1024, SCORES.astype(np.float64)
    indices, _ = soft_nms(boxes, scores, labels.astype(np.int64))
    kept, _, _ = ensemble_boxes.soft_nms([boxes], [scores], [labels])
    assert sorted(kept.tolist()) == sorted(boxes[indices].tolist())
    return [boxes], [scores], [labels]


@pytest.mark.benchmark(group="numpy hard NMS 5000, one label")
def test_yolox_ops_hard(benchmark):
    benchmark(soft_nms, BOXES, SCORES, **HARD)


@pytest.mark.benchmark(group="numpy hard NMS 5000, one label")
def test_opencv_hard(benchmark):
    kept = cv2.dnn.NMSBoxes(XYWH, SCORES, FLOOR, 0.3)
    assert kept.ravel().tolist() == soft_nms(BOXES, SCORES, **HARD)[0].tolist()
    benchmark(cv2.dnn.NMSBoxes, XYWH, SCORES, FLOOR, 0.3)


@pytest.mark.benchmark(group="numpy hard NMS 5000, 80 labels")
def test_yolox_ops_hard_of_labels(benchmark):
    benchmark(soft_nms, BOXES, SCORES, LABELS, **HARD)


@pytest.mark.benchmark(group="numpy hard NMS 5000, 80 labels")
def test_opencv_hard_of_labels(benchmark):
    kept = cv2.dnn.NMSBoxesBatched(XYWH, SCORES, LABELS, FLOOR, 0.3)
    assert sorted(kept.ravel().tolist()) == sorted(soft_nms(BOXES, SCORES, LABELS, **HARD)[0].tolist())
    benchmark(cv2.dnn.NMSBoxesBatched, XYWH, SCORES, LABELS, FLOOR, 0.3)


@pytest.mark.benchmark(group="numpy pairwise_iou 5000x5000")
def test_yolox_ops_iou(benchmark):
    benchmark(pairwise_iou, BOXES, BOXES)


@pytest.mark.benchmark(group="numpy pairwise_iou 5000x5000")
def test_powerboxes(benchmark):
    np.testing.assert_allclose(
        1 - powerboxes.parallel_iou_distance(BOXES, BOXES), pairwise_iou(BOXES, BOXES), atol=1e-6
    )
    benchmark(powerboxes.parallel_iou_distance, BOXES, BOXES)


@pytest.mark.benchmark(group="numpy soft_nms 16x1000, 80 labels")
def test_batch(benchmark):
    arrays = [x[:1000][None].repeat(16, 0) for x in (BOXES, SCORES, LABELS)]
    found = batched_soft_nms(*arrays)
    alone, _ = soft_nms(*(x[0] for x in arrays))
    assert all((row[:k] == alone).all() for row, k in zip(found.indices, found.counts, strict=True))
    benchmark(batched_soft_nms, *arrays)
