"""What soft-NMS may be given: odd boxes and scores, every dtype, labels, limits; and what it refuses."""

import math

import numpy as np
import pytest
import torch
from boxes import ODD_BOXES, random_boxes
from impls import COMPILING, DTYPES, SLOW, implementations, strided
from selection import check_run, sample

from python_ref.soft_nms import soft_nms as reference
from yolox_ops import batched_soft_nms, soft_nms

METHODS = ["hard", "linear", "gaussian", "mean_gaussian"]
each_implementation = pytest.mark.parametrize("run", implementations("soft_nms"))
each_method = pytest.mark.parametrize("method", METHODS)
BOXES, SCORES = random_boxes(5), torch.rand(5)


@each_implementation
@each_method
def test_odd_boxes(run, method):
    nan, inf = math.nan, math.inf
    broken = [[nan, 0, 10, 10], [0, 0, 10, nan], [-inf, -inf, inf, inf], [0, 0, inf, 10], [inf, inf, inf, inf]]
    huge = torch.tensor([[-1e18, -1e18, 1e18, 1e18], [0, 0, 1e18, 1e18]])
    boxes = torch.cat([random_boxes(30), ODD_BOXES, ODD_BOXES, torch.tensor(broken), huge, random_boxes(30)])
    check_run(run, boxes, torch.rand(len(boxes)), method=method)
    twice = torch.tensor([*broken, [1e30, 1e30, 2e30, 2e30]]).repeat(2, 1)  # the last area is infinite in float32
    assert len(run(twice, torch.rand(12) + 0.1, method=method)[0]) == 12, "their IoU is 0, or NaN, which counts as 0"


@each_implementation
@each_method
def test_odd_scores(run, method):
    boxes, scores = random_boxes(60, extent=100), torch.rand(60)
    scores[::7] = math.nan
    scores[3] = -math.inf
    check_run(run, boxes, scores, method=method)
    scores[11] = math.inf
    indices, decayed = run(boxes, scores, method=method)
    assert indices[0] == 11 and decayed[0] == math.inf
    assert set(indices.tolist()).isdisjoint([*range(0, 60, 7), 3])
    assert len(run(boxes, torch.full((60,), math.nan), method=method, score_threshold=-math.inf)[0]) == 0


@each_implementation
@each_method
def test_negative_scores(run, method):
    """A decay lifts a negative score, so a label's sequence may rise; the order stays that of one process over all.
    mean_gaussian leaves scores alone once their mean is negative."""
    boxes, scores, labels = sample(60 if SLOW else 200, extent=40 if SLOW else 80)
    check_run(run, boxes, scores - 0.5, labels, method=method, score_threshold=-3.0)
    _, decayed = run(boxes, scores - 0.5, labels, method=method, score_threshold=-3.0)
    assert method in ("hard", "mean_gaussian") or (decayed.diff() > 0).any()


@each_implementation
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(run, dtype):
    boxes, scores = random_boxes(40).to(dtype), torch.rand(40).to(dtype)
    for pair in ((boxes, scores), (boxes.double(), scores), (boxes, scores.double())):
        check_run(run, *pair)
    if dtype == torch.float64:
        wanted = torch.tensor([score for _, score in reference(boxes.tolist(), scores.tolist())], dtype=dtype)
        torch.testing.assert_close(run(boxes, scores)[1], wanted, rtol=1e-12, atol=1e-12)


@each_implementation
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8] + [torch.int32, torch.int16, torch.int8] * (not COMPILING))
def test_labels(run, dtype):
    info, n = torch.iinfo(dtype), 200
    values = torch.tensor([info.min, info.min + 1, 0, 1, 100, info.max - 1, info.max], dtype=dtype)
    boxes, scores, labels = random_boxes(n), torch.rand(n), values[torch.randint(len(values), (n,))]
    check_run(run, boxes, scores, labels)
    check_run(run, boxes, scores, torch.arange(n).to(dtype))


@each_implementation
@each_method
def test_max_detections(run, method):
    size = 40 if SLOW else 100
    boxes, scores, labels = sample(size)
    for groups in (labels, None):
        indices, decayed = run(boxes, scores, groups, method=method)
        for most in (0, 1, 7, size, 2**40):
            cut = run(boxes, scores, groups, method=method, max_detections=most)
            assert cut[0].tolist() == indices[:most].tolist() and cut[1].tolist() == decayed[:most].tolist()


@each_implementation
def test_strides_do_not_matter(run):
    boxes, scores, labels = sample(50)
    plain = run(boxes, scores, labels)
    for other in (run(strided(boxes), strided(scores), strided(labels)), run(boxes.T.contiguous().T, scores, labels)):
        torch.testing.assert_close(other, plain, rtol=0, atol=0)
    spread = run(boxes[:1].expand(9, 4), scores[:1].expand(9), labels[:1].expand(9))
    torch.testing.assert_close(spread, run(boxes[:1].repeat(9, 1), scores[:1].repeat(9), labels[:1].repeat(9)))


@pytest.mark.parametrize("run", implementations("batched_soft_nms"))
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_empty_batches(run, shape):
    for most in (None, 2):
        indices, decayed, counts = run(torch.zeros(*shape, 4), torch.zeros(shape), max_detections=most)
        assert indices.shape == decayed.shape == (shape[0], min(shape[1], 2 if most else shape[1]))
        assert counts.tolist() == [0] * shape[0]


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "words"),
    [
        ((BOXES[:, :3], SCORES), {}, ValueError, r"boxes must be \[N, 4\], got \[5, 3\]"),
        ((BOXES, SCORES, torch.zeros(4, dtype=int)), {}, ValueError, r"labels must be \[N\] with N = 5, got \[4\]"),
        ((BOXES, SCORES, SCORES * 1j), {}, TypeError, "labels must be an integer tensor, got torch.complex64"),
        ((BOXES, SCORES, [0] * 5), {}, TypeError, "labels must be a torch.Tensor, got list"),
        ((BOXES, SCORES.to("meta")), {}, ValueError, "scores must be on the device of boxes, got meta and cpu"),
        ((BOXES, SCORES), {"method": "soft"}, ValueError, "method must be one of 'hard', .* got 'soft'"),
        ((BOXES, SCORES), {"fmt": "yxyx"}, ValueError, "fmt must be one of 'xyxy', .* got 'yxyx'"),
        ((BOXES, SCORES), {"fmt": np.ones(2)}, ValueError, "fmt must be one of 'xyxy', .* got ndarray of shape"),
        ((BOXES, SCORES), {"sigma": 10**400}, ValueError, "sigma must fit into a float, got an integer of 1329 bits"),
        ((BOXES, SCORES), {"sigma": 0.0}, ValueError, "sigma must be positive and finite, got 0.0"),
        ((BOXES, SCORES), {"iou_threshold": -0.1}, ValueError, "iou_threshold must be at least 0, got -0.1"),
        ((BOXES, SCORES), {"max_detections": -1}, ValueError, "max_detections must be at least 0, got -1"),
        ((BOXES, SCORES), {"max_detections": "3"}, TypeError, "max_detections must be an integer, got '3'"),
        ((BOXES, SCORES), {"max_candidates": -1}, ValueError, "max_candidates must be at least 0, got -1"),
        ((BOXES, SCORES), {"max_candidates": 2.0}, TypeError, "max_candidates must be an integer, got 2.0"),
        ((BOXES, SCORES), {"inclusive": 1}, TypeError, "inclusive must be True or False, got 1"),
        ((BOXES, SCORES), {"any_corners": None}, TypeError, "any_corners must be True or False, got None"),
        ((BOXES, SCORES), {"any_corners": True, "fmt": "xywh"}, ValueError, "any_corners must .* got fmt 'xywh'"),
        ((BOXES, SCORES), {"max_detections": 2**63}, ValueError, r"max_detections must be below 2\^63"),
        ((BOXES, SCORES), {"score_threshold": math.nan}, ValueError, "score_threshold must be in .* got nan"),
    ],
)
def test_errors(args, kwargs, error, words):
    with pytest.raises(error, match=words):
        soft_nms(*args, **kwargs)
    with pytest.raises(ValueError, match=r"boxes must be \[B, N, 4\], got \[5, 4\]"):
        batched_soft_nms(BOXES, SCORES)


def test_the_bare_op_guards_its_memory():
    with pytest.raises(ValueError, match=r"scores must be \[B, N\], got \[1, 4\]"):
        torch.ops.yolox_ops.soft_nms(BOXES[None], SCORES[None, 1:], None, "hard", 0.5, 0.3, 1e-3, -1, "xyxy")
