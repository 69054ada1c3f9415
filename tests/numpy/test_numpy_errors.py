"""yolox_ops.numpy refuses what yolox_ops refuses, in its words."""

import math

import numpy as np
import pytest
import torch
from arrays import array, misaligned
from boxes import random_boxes

import yolox_ops
import yolox_ops.numpy as on_arrays
from yolox_ops import _numpy

BOXES, SCORES = random_boxes(5), torch.rand(5)


def message(function, *args, **kwargs):
    with pytest.raises((ValueError, TypeError)) as caught:
        function(*args, **kwargs)
    return caught.type, str(caught.value)


@pytest.mark.parametrize(
    ("op", "args", "kwargs"),
    [
        ("pairwise_iou", (torch.rand(3, 5), BOXES), {}),
        ("pairwise_iou", (BOXES, torch.rand(4)), {}),
        ("pairwise_iou", (BOXES, BOXES), {"fmt": "yxyx"}),
        ("pairwise_iou", (BOXES, BOXES), {"kind": "dice"}),
        ("pairwise_iou", (BOXES.expand(2, 5, 4), BOXES.expand(3, 5, 4)), {}),
        ("soft_nms", (BOXES[:, :3], SCORES), {}),
        ("soft_nms", (BOXES[None], SCORES), {}),
        ("soft_nms", (BOXES, SCORES[:4]), {}),
        ("soft_nms", (BOXES, SCORES, torch.zeros(4, dtype=int)), {}),
        ("soft_nms", (BOXES, SCORES), {"method": "soft"}),
        ("soft_nms", (BOXES, SCORES), {"fmt": "yxyx"}),
        ("soft_nms", (BOXES, SCORES), {"sigma": 0.0}),
        ("soft_nms", (BOXES, SCORES), {"sigma": "1"}),
        ("soft_nms", (BOXES, SCORES), {"iou_threshold": -0.1}),
        ("soft_nms", (BOXES, SCORES), {"score_threshold": math.nan}),
        ("soft_nms", (BOXES, SCORES), {"inclusive": "yes"}),
        ("soft_nms", (BOXES, SCORES), {"any_corners": 1}),
        ("soft_nms", (BOXES, SCORES), {"any_corners": True, "fmt": "cxcywh"}),
        ("soft_nms", (BOXES, SCORES), {"max_candidates": -1}),
        ("soft_nms", (BOXES, SCORES), {"max_candidates": 1.5}),
        ("soft_nms", (BOXES, SCORES), {"max_detections": -1}),
        ("soft_nms", (BOXES, SCORES), {"max_detections": "3"}),
        ("soft_nms", (BOXES, SCORES), {"max_detections": True}),
        ("soft_nms", (BOXES, SCORES), {"max_detections": 2**63}),
        ("batched_soft_nms", (BOXES, SCORES), {}),
    ],
)
def test_errors_are_the_same(op, args, kwargs):
    mine = message(getattr(on_arrays, op), *map(array, args), **kwargs)
    theirs = message(getattr(yolox_ops, op), *args, **kwargs)
    assert mine == theirs


MASKED = "nothing masked, got 2 masked values"
ODD = {
    "objects": (np.array([[1, None, 3, 4]] * 5), TypeError, "floats or integers that fit into float64, got object"),
    "strings": ([["0", "0", "9", "9"]] * 5, TypeError, "floats or integers that fit into float64, got <U1"),
    "complex": (BOXES.numpy() * 1j, TypeError, "floats or integers that fit into float64, got complex64"),
    "times": (np.zeros((5, 4), "M8[s]"), TypeError, r"floats or integers that fit into float64, got datetime64\[s\]"),
    "spans": (np.zeros((5, 4), "m8[s]"), TypeError, r"floats or integers that fit into float64, got timedelta64\[s\]"),
    "records": (np.zeros((5, 4), [("a", "f4")]), TypeError, "floats or integers that fit into float64, got "),
    "huge integers": ([[0, 0, 9, 2**70]] * 5, TypeError, "floats or integers that fit into float64, got object"),
    "ragged": (
        [[0, 0, 9, 9]] * 4 + [[0, 0]],
        ValueError,
        "an array of numbers, got a list whose parts differ",
    ),
    "masked": (np.ma.masked_less(BOXES.numpy(), BOXES.min() + 1e-3), ValueError, "nothing masked, got 1 masked values"),
    "masked in a list": ([*BOXES.numpy()[:4], np.ma.masked_array([0, 0, 9, 9], [0, 1, 1, 0])], ValueError, MASKED),
    "needs a gradient": (
        BOXES.clone().requires_grad_(),
        TypeError,
        "an array of numbers, got a Tensor that NumPy",
    ),
    "nothing": (None, TypeError, "floats or integers that fit into float64, got object"),
    "text": ("boxes", TypeError, "floats or integers that fit into float64, got <U5"),
    "number": (0.5, ValueError, r"\[N, 4\], got \[\]"),
}
if np.dtype("longdouble").itemsize > 8:
    ODD["longdouble"] = (BOXES.numpy().astype("g"), TypeError, "floats or integers that fit into float64, got float128")


@pytest.mark.parametrize(("values", "error", "words"), ODD.values(), ids=ODD)
def test_what_is_no_array_of_numbers(values, error, words):
    with pytest.raises(error, match=f"^boxes must be {words}".replace("be nothing", "have nothing")) as caught:
        on_arrays.soft_nms(values, SCORES.numpy())
    assert "\n" not in str(caught.value)
    with pytest.raises(error, match=words.replace("N, 4", ".*")):
        on_arrays.pairwise_iou(BOXES.numpy(), values)


def test_odd_scores_and_labels():
    boxes, scores = BOXES.numpy(), SCORES.numpy()
    with pytest.raises(TypeError, match="scores must be floats or integers that fit into float64, got <U4"):
        on_arrays.soft_nms(boxes, ["high"] * 5)
    with pytest.raises(ValueError, match="scores must have nothing masked, got 2 masked values"):
        on_arrays.soft_nms(boxes, np.ma.masked_array(scores, [0, 1, 0, 1, 0]))
    with pytest.raises(TypeError, match="labels must be integers, floats or bools, got <U3"):
        on_arrays.soft_nms(boxes, scores, ["cat", "dog"] * 2 + ["cat"])
    with pytest.raises(ValueError, match=r"labels must be \[N\], got \[\]"):
        on_arrays.soft_nms(boxes, scores, 1.0)
    with pytest.raises(ValueError, match=r"boxes must be \[B, N, 4\], got \[0\]"):
        on_arrays.batched_soft_nms([], [])  # of how many images?


def test_the_bindings_guard_their_memory():
    boxes, scores = BOXES[None].numpy(), SCORES[None].numpy()
    rule = "hard", 0.5, 0.3, 1e-3, -1, "xyxy"
    with pytest.raises(ValueError, match=r"boxes2 must be \[B, N, 4\], got \[3, 5, 4\]"):
        _numpy.pairwise_iou(boxes, np.repeat(boxes, 3, 0), "xyxy", "iou")
    for shape in ((1, 4), (5,), (1, 5, 1)):
        with pytest.raises(ValueError, match=r"scores must be \[B, N\], got \["):
            _numpy.soft_nms(boxes, np.zeros(shape, np.float32), None, *rule)
    with pytest.raises(ValueError, match=r"labels must be \[B, N\], got \[1, 4\]"):
        _numpy.soft_nms(boxes, scores, np.zeros((1, 4), np.int64), *rule)
    for wrong in (boxes.astype(np.float64), boxes[..., ::-1], boxes.astype(">f4")):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            _numpy.soft_nms(wrong, scores, None, *rule)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _numpy.soft_nms(boxes, scores, np.zeros((1, 5), np.int32), *rule)
    with pytest.raises(ValueError, match="boxes must lie at an address that its dtype allows, got a misaligned array"):
        _numpy.soft_nms(misaligned(boxes), scores, None, *rule)
