"""yolox_ops.numpy takes what NumPy makes arrays of without loss."""

import ml_dtypes
import numpy as np
import pytest
import torch
from boxes import random_boxes
from selection import sample

import yolox_ops
import yolox_ops.numpy as on_arrays

# Whole numbers, which every dtype below holds.
BOXES = random_boxes(30, extent=60).round().numpy()
SCORES = (np.arange(30)[::-1] * 7 % 31).astype(np.float32)
LABELS = np.arange(30) % 3


def check_equal(found, wanted, dtype):
    """Of the same bits, but for the width of the scores."""
    assert found[0].tolist() == wanted[0].tolist() and found[1].dtype == dtype
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        ("int8", "float32"),
        ("uint8", "float32"),
        ("int16", "float32"),
        ("uint16", "float32"),
        ("int32", "float64"),
        ("uint32", "float64"),
        ("int64", "float64"),
        ("uint64", "float64"),
        (">i2", "float32"),
        (">i4", "float64"),
        (">f4", "float32"),
        (">f8", "float64"),
        ("float16", "float32"),
        (ml_dtypes.bfloat16, "float32"),
    ],
)
def test_dtypes(dtype, wide):
    wanted = on_arrays.soft_nms(BOXES, SCORES, LABELS)
    boxes, scores = BOXES.astype(dtype), SCORES.astype(dtype)
    for array in (boxes, scores):
        array.flags.writeable = False
    halves = boxes, SCORES.astype("float16" if wide == "float32" else "float64")
    for given in ((boxes, SCORES), (BOXES, scores), (boxes, scores), halves):
        check_equal(on_arrays.soft_nms(*given, LABELS), wanted, wide)
        batched = on_arrays.batched_soft_nms(*(x[None] for x in (*given, LABELS)))
        assert batched.scores.dtype == wide and batched.indices[0, : len(wanted[0])].tolist() == wanted[0].tolist()
    iou = on_arrays.pairwise_iou(boxes, BOXES)
    assert iou.dtype == wide
    exact = yolox_ops.pairwise_iou(*(torch.from_numpy(BOXES.astype(wide)) for _ in range(2)))
    assert iou.tobytes() == exact.numpy().tobytes()


def test_lists_are_what_numpy_makes_of_them():
    boxes, scores, labels = BOXES.tolist(), SCORES.tolist(), LABELS.tolist()
    wanted = on_arrays.soft_nms(BOXES.astype(np.float64), SCORES.astype(np.float64), LABELS)
    tuples = tuple(map(tuple, boxes)), tuple(scores), tuple(labels)
    for given in ((boxes, scores, labels), tuples, (list(BOXES.astype(np.float64)), scores, labels)):
        found = on_arrays.soft_nms(*given)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found, wanted, strict=True))
    whole = on_arrays.soft_nms([[int(x) for x in box] for box in boxes], SCORES, LABELS)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, wanted, strict=True))
    iou = on_arrays.pairwise_iou(boxes, boxes[:3])
    assert iou.tobytes() == on_arrays.pairwise_iou(BOXES.astype(np.float64), BOXES[:3].astype(np.float64)).tobytes()
    nested = on_arrays.batched_soft_nms([boxes, boxes], [scores, scores], [labels, labels])
    assert nested.counts.tolist() == [len(wanted[0])] * 2
    assert on_arrays.soft_nms([[0, 0, 2, 2], [0, 0, 2, 1]], [1, 1], method="hard")[0].tolist() == [0]


def test_integers_beyond_float32_are_not_rounded():
    """In float32 2^24 + 1 is 2^24."""
    far = 2**24
    boxes = np.array([[far, 0, far + 1, 1], [far + 1, 0, far + 2, 1]])
    for dtype in (np.int32, np.int64, np.uint32):
        assert on_arrays.pairwise_iou(boxes.astype(dtype), boxes.astype(dtype)).tolist() == [[1, 0], [0, 1]]
        scores = np.float32([0.9, 0.8])
        assert on_arrays.soft_nms(boxes.astype(dtype), scores, method="hard")[0].tolist() == [0, 1]


@pytest.mark.parametrize("none", [[], (), np.array([]), np.zeros((0, 4)), np.zeros(0, "i4"), np.zeros((0, 4), "f4")])
def test_no_boxes(none):
    for labels in (None, [], np.array([], np.int32)):
        indices, decayed = on_arrays.soft_nms(none, [], labels)
        assert indices.shape == decayed.shape == (0,) and (indices.dtype, decayed.dtype) == (np.int64, np.float64)
    assert on_arrays.pairwise_iou(none, BOXES).shape == (0, 30)
    assert on_arrays.pairwise_iou(BOXES, none).shape == (30, 0)
    assert on_arrays.pairwise_iou(none, none).shape == (0, 0)


def test_no_boxes_in_any_image():
    found = on_arrays.batched_soft_nms([[], []], [[], []], [[], []])
    assert found.indices.shape == found.scores.shape == (2, 0) and found.counts.tolist() == [0, 0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", ">f8", ml_dtypes.bfloat16, "bool", "uint64"])
def test_labels_are_numbers(dtype):
    kinds = LABELS % 2 if dtype == "bool" else LABELS
    wanted = on_arrays.soft_nms(BOXES, SCORES, kinds)
    for labels in (kinds.astype(dtype), kinds.astype(dtype).tolist(), np.stack([kinds.astype(dtype)] * 2, 1)[:, 0]):
        found = on_arrays.soft_nms(BOXES, SCORES, labels)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found, wanted, strict=True))
    if dtype not in ("bool", "uint64"):
        zeros = np.where(LABELS == 0, 0.0, -0.0).astype(dtype)
        assert on_arrays.soft_nms(BOXES, SCORES, zeros)[0].tolist() == on_arrays.soft_nms(BOXES, SCORES)[0].tolist()


def test_a_mask_that_masks_nothing():
    wanted = on_arrays.soft_nms(BOXES, SCORES, LABELS)
    found = on_arrays.soft_nms(*(np.ma.masked_array(x, np.zeros(x.shape, bool)) for x in (BOXES, SCORES, LABELS)))
    assert all(type(a) is np.ndarray and a.tobytes() == b.tobytes() for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.longdouble])
def test_options_are_numbers_of_numpy(kind):
    rule = {"sigma": 0.5, "iou_threshold": 0.25, "score_threshold": 0.125}
    counts = {"max_detections": 9, "max_candidates": 20, "inclusive": True}
    for method in ("linear", "gaussian"):
        wanted = on_arrays.soft_nms(BOXES, SCORES, method=method, **counts, **rule)
        numbers = {name: kind(value) for name, value in rule.items()}
        numbers |= {"max_detections": np.uint8(9), "max_candidates": np.int16(20), "inclusive": np.bool_(True)}
        found = on_arrays.soft_nms(BOXES, SCORES, method=np.str_(method), **numbers)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("method", ["hard", "linear", "gaussian", "mean_gaussian"])
@pytest.mark.parametrize(
    "options",
    [
        {"inclusive": True, "iou_threshold": 0.5},
        {"score_threshold": None},
        {"max_candidates": 7},
        {"any_corners": True},
        {"sigma": 1e-46},
        {"sigma": 1e39},
        {"score_threshold": 1e-46},
    ],
    ids=str,
)
def test_options_are_those_of_torch(method, options):
    boxes, scores, labels = sample(60)
    boxes, scores = boxes.round(), (scores * 8).round() / 4 - 0.5
    boxes[::3] = boxes[::3, [2, 1, 0, 3]]
    scores[::7] = torch.nan
    wanted = yolox_ops.soft_nms(boxes, scores, labels, method=method, **options)
    found = on_arrays.soft_nms(boxes.numpy(), scores.numpy(), labels.numpy(), method=method, **options)
    assert all(a.tobytes() == b.numpy().tobytes() for a, b in zip(found, wanted, strict=True))
    before = boxes.clone(), scores.clone()
    torch.testing.assert_close((boxes, scores), before, rtol=0, atol=0, equal_nan=True)
