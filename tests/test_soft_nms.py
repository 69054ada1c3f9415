import math

import numpy as np
import pytest
import torch
from boxes import ODD_BOXES, random_boxes
from hypothesis import given, settings
from hypothesis import strategies as st
from impls import DTYPES, SLOW, check_compiles, check_registration, implementations, strided
from selection import check_run, check_selection, sample

from python_ref.soft_nms import soft_nms as reference
from yolox_ops import batched_soft_nms, soft_nms

METHODS = ["hard", "linear", "gaussian", "mean_gaussian"]
each_implementation = pytest.mark.parametrize("run", implementations("soft_nms"))
each_method = pytest.mark.parametrize("method", METHODS)


@each_implementation
@each_method
@pytest.mark.parametrize("n", [0, 1, 2, 16, 17] + [90] * SLOW + [150, 600] * (not SLOW))
def test_equals_reference(run, method, n):
    boxes, scores, labels = sample(n, extent=200)
    for groups in (labels, None):
        assert check_run(run, boxes, scores, groups, method=method) <= n // 50


@each_implementation
@each_method
@pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])
def test_formats(run, method, fmt):
    boxes, scores = random_boxes(60, fmt=fmt), torch.rand(60)
    check_run(run, boxes, scores, method=method, fmt=fmt)


BOXES = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [2, 0, 12, 10], [30, 30, 40, 40], [31, 30, 41, 40.0]])
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.95, 0.3])


@each_implementation
@pytest.mark.parametrize(
    ("method", "order", "decayed"),
    [
        ("linear", [3, 0, 1, 2, 4], [0.95, 0.9, 0.255462, 0.07451, 0.054545]),
        ("gaussian", [3, 0, 1, 2, 4], [0.95, 0.9, 0.316709, 0.113927, 0.078645]),
        ("hard", [3, 0], [0.95, 0.9]),
    ],
)
def test_golden(run, method, order, decayed):
    indices, scores = run(BOXES, SCORES, method=method)
    assert indices.tolist() == order
    torch.testing.assert_close(scores, torch.tensor(decayed), rtol=0, atol=1e-6)


@each_implementation
def test_mean_gaussian_by_hand(run):
    """Scores 1, .5, .25 and boxes of which the first two overlap by half: sigma is first (.5 + .25) / 2."""
    boxes = torch.tensor([[0, 0, 2, 1], [0, 0, 1, 1], [8, 8, 9, 9.0]])
    indices, scores = run(boxes, torch.tensor([1, 0.5, 0.25]), method="mean_gaussian")
    assert indices.tolist() == [0, 1, 2]
    torch.testing.assert_close(scores, torch.tensor([1, 0.5 * math.exp(-0.25 / 0.375), 0.25]))


@each_implementation
def test_a_mean_of_zero_lowers_nothing(run):
    boxes = torch.tensor([[0.0, 0, 10, 10]] * 3)
    indices, decayed = run(boxes, torch.tensor([1.0, 0, 0]), method="mean_gaussian", score_threshold=0.0)
    assert indices.tolist() == [0, 1, 2] and decayed.tolist() == [1, 0, 0]


@each_implementation
@each_method
def test_ties_and_duplicates_go_by_index(run, method):
    n = 100 if SLOW else 300
    boxes, scores = random_boxes(n, extent=n), torch.randint(1, 4, (n,)) / 4
    check_run(run, boxes, scores, method=method)
    boxes, scores = random_boxes(8).repeat(6, 1), torch.rand(8).repeat(6)
    check_run(run, boxes, scores, method=method)
    apart = torch.arange(50.0)[:, None] * 10 + torch.tensor([0, 0, 5, 5.0])
    indices, _ = run(apart[torch.randperm(50)], torch.full((50,), 0.5), method=method)
    assert indices.tolist() == list(range(50))
    signs = torch.tensor([0.0, -0.0, 0.0, -0.0])
    assert run(apart[:4], signs, method=method, score_threshold=0)[0].tolist() == [0, 1, 2, 3]


@each_implementation
@each_method
def test_thresholds_are_strict(run, method):
    """IoU 1/2 does not exceed 0.5, and a score of 1/4 reaches 0.25, at the start as after a decay."""
    boxes, scores = torch.tensor([[0, 0, 2, 1], [0, 0, 1, 1.0]]), torch.tensor([0.5, 0.25])
    for factor in (1, 2):
        check_run(run, boxes, factor * scores, method=method, iou_threshold=0.5, score_threshold=0.25)
    assert run(boxes, 2 * scores, method="linear", score_threshold=0.25)[1].tolist() == [1, 0.25]
    assert run(boxes, scores, method=method, score_threshold=0.26)[0].tolist() == [0]
    assert run(boxes, scores, method=method, score_threshold=0.51)[0].tolist() == []


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
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8])
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
@each_method
@pytest.mark.parametrize("most", [None, 40])
def test_batch_equals_loop(run, method, most):
    batch, size = (2, 50) if SLOW else (3, 200)
    boxes, scores, labels = sample(batch, size, extent=400)
    scores[1] = 0
    for groups, stacked in ((labels, labels), ([None] * batch, None)):
        indices, decayed, counts = run(boxes, scores, stacked, method=method, max_detections=most)
        assert indices.shape == decayed.shape == (batch, most or size) and counts[1] == 0
        for b, count in enumerate(counts.tolist()):
            alone = soft_nms(boxes[b], scores[b], groups[b], method=method, max_detections=most)
            torch.testing.assert_close((indices[b, :count], decayed[b, :count]), alone, rtol=0, atol=0)
            assert (indices[b, count:] == -1).all() and (decayed[b, count:] == 0).all()


@pytest.mark.parametrize("run", implementations("batched_soft_nms"))
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_empty_batches(run, shape):
    for most in (None, 2):
        indices, decayed, counts = run(torch.zeros(*shape, 4), torch.zeros(shape), max_detections=most)
        assert indices.shape == decayed.shape == (shape[0], min(shape[1], 2 if most else shape[1]))
        assert counts.tolist() == [0] * shape[0]


@each_implementation
@each_method
def test_many_boxes(run, method):
    size = 500 if SLOW else 5000
    boxes, scores, labels = sample(size, kinds=20, extent=600)
    assert check_run(run, boxes, scores, labels, method=method) <= size // 50


def test_a_label_of_many_boxes():
    """So many that the tree on a CPU has all its levels, and closes its ranks until it has them no more."""
    size = 1500
    boxes, scores, labels = sample(size, kinds=1, extent=600)
    assert check_run(soft_nms, boxes, scores, labels, method="linear") <= size // 50


@pytest.mark.plain
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.integers(0, 10_000), st.sampled_from(METHODS))
def test_permutation_equivariance(n, seed, method):
    generator = torch.Generator().manual_seed(seed)
    boxes, labels = random_boxes(n, seed=seed), torch.randint(3, (n,), generator=generator)
    # No ties, nor such as a decay by a round number makes, which go by the index.
    scores = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) / n
    order = torch.randperm(n, generator=generator)
    indices, decayed = soft_nms(boxes[order], scores[order], labels[order], method=method)
    assert check_selection((order[indices], decayed), boxes, scores, labels, method=method) <= 1 + n // 20


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(1, 9), st.integers(0, 10_000), st.sampled_from(METHODS))
def test_labels_do_not_touch(n, kinds, seed, method):
    generator = torch.Generator().manual_seed(seed)
    boxes, scores = random_boxes(n, seed=seed), torch.rand(n, generator=generator)
    labels = torch.randint(kinds, (n,), generator=generator)
    indices, decayed = soft_nms(boxes, scores, labels, method=method)
    assert (decayed.diff() <= 0).all()
    for label in range(kinds):
        members = (labels == label).nonzero()[:, 0]
        alone = soft_nms(boxes[members], scores[members], method=method)
        mine = labels[indices] == label
        torch.testing.assert_close((indices[mine], decayed[mine]), (members[alone[0]], alone[1]), rtol=0, atol=0)


@pytest.mark.parametrize(("method", "code"), [("linear", 1), ("gaussian", 2), ("hard", 3)])
def test_keeps_what_ensemble_boxes_keeps(method, code):
    """Its scores come back undecayed and label by label, so the kept boxes of each label are compared."""
    import ensemble_boxes  # here, as a GPU machine may lack the peers

    n = 400
    boxes, scores, labels = random_boxes(n) / 128, (torch.randperm(n) + 1) / n, torch.randint(4, (n,))
    arrays = [boxes.double().numpy()], [scores.double().numpy()], [labels.numpy()]
    kept, _, kept_labels = ensemble_boxes.nms_method(*arrays, method=code, iou_thr=0.45, sigma=0.3, thresh=0.02)
    floor = 0.0 if method == "hard" else 0.02  # its hard NMS does not look at the threshold
    rule = {"method": method, "iou_threshold": 0.45, "sigma": 0.3, "score_threshold": floor}
    indices, _ = soft_nms(boxes.double(), scores.double(), labels, **rule)
    mine = torch.cat([labels[indices, None], boxes[indices]], 1).double().tolist()
    assert sorted(mine) == sorted([label, *box] for label, box in zip(kept_labels, kept.tolist(), strict=True))


@pytest.mark.plain
@each_method
def test_registration(method):
    boxes, scores, labels = sample(2, 9)
    for groups, most in ((labels, -1), (None, 4), (labels.int(), 0)):
        check_registration("soft_nms", boxes, scores, groups, method, 0.5, 0.3, 1e-3, most, "xyxy")
    check_registration("soft_nms", boxes[:, :0], scores[:, :0], None, method, 0.5, 0.3, 1e-3, -1, "xyxy")
    assert not batched_soft_nms(boxes.requires_grad_(), scores.requires_grad_(), method=method).scores.requires_grad


@pytest.mark.plain
def test_compiles():
    boxes, scores, labels = sample(2, 9)
    check_compiles(batched_soft_nms, boxes, scores, labels, max_detections=5)
    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        check_compiles(soft_nms, boxes[0], scores[0])


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "words"),
    [
        ((BOXES[:, :3], SCORES), {}, ValueError, r"boxes must be \[N, 4\], got \[5, 3\]"),
        ((BOXES, SCORES, torch.zeros(4, dtype=int)), {}, ValueError, r"labels must be \[N\] with N = 5, got \[4\]"),
        ((BOXES, SCORES, SCORES), {}, TypeError, "labels must be an integer tensor, got torch.float32"),
        ((BOXES, SCORES.to("meta")), {}, ValueError, "scores must be on the device of boxes, got meta and cpu"),
        ((BOXES, SCORES), {"method": "soft"}, ValueError, "method must be one of 'hard', .* got 'soft'"),
        ((BOXES, SCORES), {"fmt": "yxyx"}, ValueError, "fmt must be one of 'xyxy', .* got 'yxyx'"),
        ((BOXES, SCORES), {"fmt": np.ones(2)}, ValueError, "fmt must be one of 'xyxy', .* got ndarray of shape"),
        ((BOXES, SCORES), {"sigma": 10**400}, ValueError, "sigma must fit into a float, got an integer of 1329 bits"),
        ((BOXES, SCORES), {"sigma": 0.0}, ValueError, "sigma must be positive and finite, got 0.0"),
        ((BOXES, SCORES), {"iou_threshold": -0.1}, ValueError, "iou_threshold must be at least 0, got -0.1"),
        ((BOXES, SCORES), {"max_detections": -1}, ValueError, "max_detections must be at least 0, got -1"),
        ((BOXES, SCORES), {"max_detections": "3"}, TypeError, "max_detections must be an integer, got '3'"),
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
