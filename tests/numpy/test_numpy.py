"""yolox_ops.numpy gives what yolox_ops gives on tensors, bit for bit."""

import inspect
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from arrays import array, misaligned
from boxes import ODD_BOXES, random_boxes
from impls import DTYPES, SLOW
from selection import check_run, sample

import yolox_ops
import yolox_ops.numpy as on_arrays
from python_ref.pairwise_iou import pairwise_iou as reference

NAN, INF = math.nan, math.inf
BROKEN = torch.tensor(
    [[NAN, 0, 10, 10], [0, 0, 10, NAN], [-INF, -INF, INF, INF], [0, 0, INF, 10], [1e30, 1e30, 2e30, 2e30]]
)
ODD = torch.cat([ODD_BOXES, BROKEN, torch.tensor([[-1e18, -1e18, 1e18, 1e18]]), random_boxes(20)])
METHODS = ["hard", "linear", "gaussian", "mean_gaussian"]
each_method = pytest.mark.parametrize("method", METHODS)


def bits(values):
    """As bytes; a NaN may be any."""
    return np.where(values == values, values, NAN).tobytes()


def check_same(op, *args, **kwargs):
    """The function of both modules gives the same bits, and leaves its arguments as they are; returns its answer."""
    arrays = [array(value) for value in args]
    before = [x.tobytes() for x in arrays if isinstance(x, np.ndarray)]
    mine, theirs = getattr(on_arrays, op)(*arrays, **kwargs), getattr(yolox_ops, op)(*args, **kwargs)
    pairs = [(mine, theirs)] if op == "pairwise_iou" else list(zip(mine, theirs, strict=True))
    for result, tensor in pairs:
        assert result.dtype == tensor.numpy().dtype and result.shape == tensor.shape and result.flags.writeable
        assert bits(result) == bits(tensor.numpy())
        assert not any(np.shares_memory(result, x) for x in arrays if isinstance(x, np.ndarray))
    assert before == [x.tobytes() for x in arrays if isinstance(x, np.ndarray)]
    return mine


@pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_pairwise_iou(fmt, kind):
    boxes = random_boxes(3, 40, fmt=fmt)
    for other in (random_boxes(3, 30, fmt=fmt, seed=1), random_boxes(30, fmt=fmt), random_boxes(7, 1, 30, fmt=fmt)):
        check_same("pairwise_iou", boxes, other, fmt=fmt, kind=kind)
    check_same("pairwise_iou", ODD, ODD, fmt=fmt, kind=kind)
    found = on_arrays.pairwise_iou(boxes[0].numpy(), boxes[1].numpy(), fmt=fmt, kind=kind)
    expected = reference(boxes[0].tolist(), boxes[1].tolist(), fmt, kind)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype):
    boxes, scores = ODD.to(dtype), torch.rand(len(ODD)).to(dtype)
    for other in (boxes, boxes.float(), boxes.double()):
        check_same("pairwise_iou", boxes, other)
        check_same("soft_nms", other, scores)
        check_same("soft_nms", boxes, scores.to(other.dtype))


@pytest.mark.parametrize("shapes", [((0, 4), (5, 4)), ((5, 4), (0, 4)), ((0, 3, 4), (3, 4)), ((2, 0, 4), (2, 0, 4))])
def test_empty_sets(shapes):
    check_same("pairwise_iou", *map(torch.zeros, shapes))


@each_method
@pytest.mark.parametrize("n", [0, 1, 17, 600])
def test_soft_nms(method, n):
    boxes, scores, labels = sample(n, extent=200)
    for groups in (labels, None):
        check_same("soft_nms", boxes, scores, groups, method=method)
        check_same("soft_nms", boxes, (scores * 4).round() / 4, groups, method=method)  # of tied scores

    def run(*args, **rule):
        return tuple(torch.from_numpy(x) for x in on_arrays.soft_nms(*map(array, args), **rule))

    check_run(run, boxes[:150], scores[:150], labels[:150], method=method)


@each_method
def test_options(method):
    boxes, scores, labels = sample(90)
    boxes, scores = torch.cat([boxes, ODD]), torch.cat([scores, torch.rand(len(ODD))])
    scores[::7], scores[3], scores[5] = NAN, -INF, INF
    labels = torch.arange(len(boxes)) % 3
    check_same("soft_nms", boxes, scores - 0.2, labels, method=method, score_threshold=-3.0)
    for fmt in ("xywh", "cxcywh"):
        check_same("soft_nms", boxes, scores, method=method, fmt=fmt, sigma=0.2, iou_threshold=0.6)
    for most in (0, 1, 7, 2**40):
        check_same("soft_nms", boxes, scores, labels, method=method, max_detections=most)
    plain = on_arrays.soft_nms(boxes.numpy(), scores.numpy(), max_detections=7, sigma=0.25)
    numpys = on_arrays.soft_nms(boxes.numpy(), scores.numpy(), max_detections=np.int32(7), sigma=np.float32(0.25))
    assert all((a == b).all() for a, b in zip(plain, numpys, strict=True))


@each_method
@pytest.mark.parametrize("shape", [(4, 700), (3, 0), (0, 5), (0, 0)])
def test_batches(method, shape):
    boxes, scores, labels = sample(*shape, extent=400)
    for groups, most in ((labels, None), (None, 90)):
        found = check_same("batched_soft_nms", boxes, scores, groups, method=method, max_detections=most)
        assert isinstance(found, on_arrays.SoftNMS)
    assert on_arrays.SoftNMS._fields == yolox_ops.SoftNMS._fields


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", ">i4"])
def test_labels(dtype):
    boxes, scores, labels = sample(200, kinds=100)
    info = np.iinfo(dtype)
    values = np.linspace(info.min, info.max, 101)[:-1].astype(dtype)[labels.numpy()]
    found = on_arrays.soft_nms(boxes.numpy(), scores.numpy(), values)
    expected = yolox_ops.soft_nms(boxes, scores, labels)
    assert all(mine.tobytes() == theirs.numpy().tobytes() for mine, theirs in zip(found, expected, strict=True))


def test_many_boxes():
    size = 5000 if SLOW else 200_000
    boxes, scores, labels = sample(size, kinds=80, extent=4000)
    check_same("soft_nms", boxes, scores, labels)
    check_same("soft_nms", boxes, scores, method="hard", max_detections=50)
    check_same("pairwise_iou", boxes[:3000], boxes[1000:2000], kind="giou")


@pytest.mark.parametrize(
    "lay",
    [
        lambda x: np.stack([x, x], -1)[..., 0],
        lambda x: np.asfortranarray(x),
        lambda x: x[::-1][::-1],
        lambda x: x.astype(x.dtype.newbyteorder()),
        misaligned,
        lambda x: x.view(np.matrix) if x.ndim == 2 else x,
    ],
    ids=["strided", "columns first", "reversed", "other byte order", "misaligned", "matrix"],
)
def test_memory_layout_does_not_matter(lay):
    boxes, scores, labels = map(array, sample(50))
    laid = lay(boxes), lay(scores), lay(labels)
    for mine, plain in zip(on_arrays.soft_nms(*laid), on_arrays.soft_nms(boxes, scores, labels), strict=True):
        assert type(mine) is np.ndarray and mine.tobytes() == plain.tobytes()
    iou = on_arrays.pairwise_iou(laid[0], laid[0][:7])
    assert type(iou) is np.ndarray and iou.tobytes() == on_arrays.pairwise_iou(boxes, boxes[:7]).tobytes()


@pytest.mark.parametrize(("method", "code"), [("linear", 1), ("gaussian", 2)])
def test_keeps_what_opencv_keeps(method, code):
    corner, size = np.random.default_rng(0).integers(1, 60, (2, 500, 2))
    boxes, scores = np.concatenate([corner, size], 1), ((torch.randperm(500) + 1) / 500).numpy()
    decayed, kept = cv2.dnn.softNMSBoxes(boxes.astype(np.int32), scores, 0.0101, 0.4, 0, 0.3, code)
    rule = {"method": method, "sigma": 0.3, "iou_threshold": 0.4, "score_threshold": 0.0101, "fmt": "xywh"}
    indices, mine = on_arrays.soft_nms(boxes.astype(np.float32), scores, **rule)
    assert sorted(indices.tolist()) == sorted(kept.ravel().tolist()) and 50 < len(indices) < 450
    np.testing.assert_allclose(mine, decayed.ravel(), rtol=1e-5)


def rules(function):
    """Its docstring before "Returns:" without the arrays, of which NumPy's may be of more dtypes."""
    lines = function.__doc__.split("Returns:")[0].splitlines()
    return [line for line in lines if not line.strip().startswith(("boxes", "scores"))]


@pytest.mark.parametrize("op", ["pairwise_iou", "soft_nms", "batched_soft_nms"])
def test_signature_and_docstring_are_those_of_the_op(op):
    mine, theirs = getattr(on_arrays, op), getattr(yolox_ops, op)
    strip = [p.replace(annotation=p.empty) for p in inspect.signature(mine).parameters.values()]
    assert strip == [p.replace(annotation=p.empty) for p in inspect.signature(theirs).parameters.values()]
    assert rules(mine) == rules(theirs)
    assert on_arrays.__all__ == ["SoftNMS", "batched_soft_nms", "pairwise_iou", "soft_nms"]


def test_the_examples_of_the_numpy_page_agree():
    """Its two examples, OpenCV's and ours, give the same."""
    names: dict = {}
    page = (Path(__file__).parents[2] / "docs/numpy.md").read_text()
    for block in page.split("```python\n")[1:]:
        exec(compile(block.split("```")[0], "docs/numpy.md", "exec"), names)
    assert [row for _, row in names["kept"]] == names["indices"].tolist() == [0, 2, 3, 1]
    np.testing.assert_allclose([score for score, _ in names["kept"]], names["new_scores"], rtol=1e-6)
