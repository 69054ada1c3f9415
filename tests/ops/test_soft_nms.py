import math

import pytest
import torch
from boxes import random_boxes
from impls import COMPILING, SLOW, check_compiles, check_registration, implementations
from selection import check_run, sample

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


@each_implementation
@pytest.mark.parametrize("method", ["mean_gaussian"] if COMPILING else METHODS)
def test_many_boxes(run, method):
    size = 500 if SLOW else 5000
    boxes, scores, labels = sample(size, kinds=20, extent=600)
    assert check_run(run, boxes, scores, labels, method=method) <= size // 50


def test_a_label_of_many_boxes():
    """So many that the tree on a CPU has all its levels, and closes its ranks until it has them no more."""
    size = 1500
    boxes, scores, labels = sample(size, kinds=1, extent=600)
    assert check_run(soft_nms, boxes, scores, labels, method="linear") <= size // 50


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
