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
    text = str(caught.value).replace("numpy.ndarray", "torch.Tensor").replace("ndarray", "Tensor")
    return caught.type, text.replace("integer array", "integer tensor").replace("torch.", "")


@pytest.mark.parametrize(
    ("op", "args", "kwargs"),
    [
        ("pairwise_iou", (torch.rand(3, 5), BOXES), {}),
        ("pairwise_iou", (BOXES, torch.rand(4)), {}),
        ("pairwise_iou", (BOXES, BOXES.int()), {}),
        ("pairwise_iou", (BOXES.tolist(), BOXES), {}),
        ("pairwise_iou", (BOXES, BOXES), {"fmt": "yxyx"}),
        ("pairwise_iou", (BOXES, BOXES), {"kind": "dice"}),
        ("pairwise_iou", (BOXES.expand(2, 5, 4), BOXES.expand(3, 5, 4)), {}),
        ("soft_nms", (BOXES[:, :3], SCORES), {}),
        ("soft_nms", (BOXES[None], SCORES), {}),
        ("soft_nms", (BOXES.int(), SCORES), {}),
        ("soft_nms", (BOXES, SCORES[:4]), {}),
        ("soft_nms", (BOXES, SCORES > 0), {}),
        ("soft_nms", (BOXES, 0.5), {}),
        ("soft_nms", (BOXES, SCORES, torch.zeros(4, dtype=int)), {}),
        ("soft_nms", (BOXES, SCORES, SCORES), {}),
        ("soft_nms", (BOXES, SCORES, SCORES > 0), {}),
        ("soft_nms", (BOXES, SCORES, [0] * 5), {}),
        ("soft_nms", (BOXES, SCORES), {"method": "soft"}),
        ("soft_nms", (BOXES, SCORES), {"fmt": "yxyx"}),
        ("soft_nms", (BOXES, SCORES), {"sigma": 0.0}),
        ("soft_nms", (BOXES, SCORES), {"sigma": "1"}),
        ("soft_nms", (BOXES, SCORES), {"iou_threshold": -0.1}),
        ("soft_nms", (BOXES, SCORES), {"score_threshold": math.nan}),
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
