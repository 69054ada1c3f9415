"""The options of soft-NMS that other codes' rules need, and numbers that float32 does not hold."""

import math

import numpy as np
import pytest
import torch
from boxes import random_boxes
from impls import COMPILING, SLOW, check_compiles, implementations
from selection import check_run, sample

from yolox_ops import batched_soft_nms, soft_nms

METHODS = ["hard", "linear", "gaussian", "mean_gaussian"]
each_implementation = pytest.mark.parametrize("run", implementations("soft_nms"))
each_method = pytest.mark.parametrize("method", METHODS)
DTYPES = [torch.float32] if COMPILING else [torch.float32, torch.float64]
# The first two overlap by half, the third touches none.
HALVES = torch.tensor([[0, 0, 2, 2], [0, 0, 2, 1], [2, 0, 4, 2.0]])
THREE = torch.tensor([0.9, 0.8, 0.7])


def grid_boxes(n: int) -> torch.Tensor:
    """With corners at few integers, so that many pairs have an IoU of exactly 1/2, 1/3 or 0.3."""
    corner = torch.randint(0, 4, (n, 2))
    return torch.cat([corner, corner + torch.randint(1, 6, (n, 2))], 1).float()


@each_implementation
@pytest.mark.parametrize(("method", "second"), [("hard", None), ("linear", 0.4), ("mean_gaussian", None)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_inclusive_acts_at_the_threshold(run, method, second, dtype):
    boxes, rule = HALVES.to(dtype), {"method": method, "iou_threshold": 0.5}
    assert run(boxes, THREE, **rule)[0].tolist() == [0, 1, 2]
    indices, decayed = run(boxes, THREE, **rule, inclusive=True)
    if method == "hard":
        assert indices.tolist() == [0, 2]
    else:
        second = 0.8 * math.exp(-0.25 / 0.75) if second is None else second
        assert indices.tolist() == [0, 2, 1] and decayed[2].item() == pytest.approx(second, rel=1e-6)


@each_implementation
@each_method
@pytest.mark.parametrize("threshold", [0.5, 0.3, 0, 1e-46, 1e39] + [1 / 3, 1, 5e-324, math.inf] * (not COMPILING))
@pytest.mark.parametrize("dtype", DTYPES)
def test_inclusive_equals_the_reference(run, method, threshold, dtype):
    boxes = grid_boxes(30 if SLOW else 80).to(dtype)
    scores = (torch.randperm(len(boxes)) + 1) / len(boxes)
    for inclusive in (False, True):
        # The float32 nearest to 1/3 stands for it, as the float32 IoU does.
        rule = {"method": method, "iou_threshold": threshold, "inclusive": inclusive}
        check_run(run, boxes, scores.to(dtype), **rule)


@each_implementation
@each_method
def test_inclusive_touches_no_pair_apart(run, method):
    """At a threshold of 0 every pair reaches it."""
    scores = torch.tensor([0.5, 0.25])
    for boxes in (HALVES[[0, 2]], torch.tensor([[0, 0, math.nan, 1], [0, 0, 1, 1]])):
        indices, decayed = run(boxes, scores, method=method, iou_threshold=0, inclusive=True)
        assert indices.tolist() == [0, 1] and decayed.tolist() == [0.5, 0.25]


@each_implementation
@pytest.mark.parametrize("threshold", [0.3, 0.45, 0.5, 0.6, 0.65, 0.7, 0.1])
def test_torchvisions_double_threshold(run, threshold):
    """torchvision compares a float32 IoU with a double: where float32 rounds the threshold up, its equal exceeds it."""
    boxes = torch.cat([torch.tensor([[0.0, 0, 10, 1], [0, 0, 3, 1]]), grid_boxes(40 if SLOW else 120)])
    scores = (torch.randperm(len(boxes)) + 1) / len(boxes)
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        # float() of a float32 is the double that torchvision compares.
        if all(float(np.float32(iou32(boxes[i], boxes[j]))) <= threshold for j in kept):
            kept.append(i)
    inclusive = float(np.float32(threshold)) > threshold
    rule = {"method": "hard", "score_threshold": None, "iou_threshold": threshold, "inclusive": inclusive}
    assert run(boxes, scores, **rule)[0].tolist() == kept


def iou32(a, b):
    a, b = np.float32(a.numpy()), np.float32(b.numpy())
    width, height = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), np.float32(0))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@each_implementation
@each_method
def test_no_score_threshold(run, method):
    boxes, scores, labels = sample(40 if SLOW else 150, extent=100)
    scores = scores * 8 - 6  # logits
    scores[::7], scores[3], scores[4] = math.nan, -math.inf, 1e-46
    found = run(boxes, scores, labels, method=method, score_threshold=None)
    lowest = run(boxes, scores, labels, method=method, score_threshold=-math.inf)
    torch.testing.assert_close(found, lowest, rtol=0, atol=0)
    check_run(run, boxes, scores, labels, method=method, score_threshold=None)
    apart = torch.arange(4.0)[:, None] * 10 + torch.tensor([0, 0, 5, 5.0])
    scores = torch.tensor([-3.0, -math.inf, math.nan, 0.0])
    assert run(apart, scores, method=method, score_threshold=None)[0].tolist() == [3, 0, 1]


@each_method
def test_corners_in_any_order(method):
    boxes, scores, labels = sample(40)
    flipped = boxes.clone()
    flipped[::2] = flipped[::2, [2, 1, 0, 3]]
    flipped[::3] = flipped[::3, [0, 3, 2, 1]]
    plain = soft_nms(boxes, scores, labels, method=method)
    torch.testing.assert_close(
        soft_nms(flipped, scores, labels, method=method, any_corners=True), plain, rtol=0, atol=0
    )
    assert len(soft_nms(flipped, scores, labels, method="hard")[0]) > len(
        soft_nms(boxes, scores, labels, method="hard")[0]
    )
    flipped[5, 2] = math.nan
    check_run(soft_nms, flipped, scores, labels, method=method, any_corners=True)


@each_method
def test_candidates(method):
    boxes, scores, labels = sample(60)
    scores = (scores * 8).round() / 8  # with ties
    scores[::9] = math.nan
    for most in (0, 1, 20, 59, 60, 2**40):
        found = soft_nms(boxes, scores, labels, method=method, max_candidates=most)
        few = torch.tensor(sorted(range(60), key=lambda i: (scores[i].isnan(), -scores[i].nan_to_num(), i))[:most])
        few = few.long().sort().values
        alone = soft_nms(boxes[few], scores[few], labels[few], method=method)
        torch.testing.assert_close(found, (few[alone[0]], alone[1]), rtol=0, atol=0)
        check_run(soft_nms, boxes, scores, labels, method=method, max_candidates=most)


def test_candidates_of_each_image():
    boxes, scores, _ = sample(3, 20)
    found = batched_soft_nms(boxes, scores, max_candidates=5, score_threshold=None)
    assert found.counts.tolist() == [5, 5, 5] and found.indices.shape == (3, 20)
    for b in range(3):
        assert set(found.indices[b, :5].tolist()) == set(scores[b].topk(5).indices.tolist())
    minus_infinity = torch.tensor([math.nan, -math.inf])
    indices, _ = soft_nms(boxes[0, :2], minus_infinity, score_threshold=None, max_candidates=1)
    assert indices.tolist() == [1], "a NaN comes last"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool])
def test_labels_are_numbers(dtype):
    boxes, scores, labels = sample(60, kinds=2 if dtype == torch.bool else 5)
    wanted = soft_nms(boxes, scores, labels)
    torch.testing.assert_close(soft_nms(boxes, scores, labels.to(dtype)), wanted, rtol=0, atol=0)
    if dtype != torch.bool:
        signed = torch.where(torch.arange(60) % 2 == 0, 0.0, -0.0).to(dtype)
        torch.testing.assert_close(soft_nms(boxes, scores, signed), soft_nms(boxes, scores), rtol=0, atol=0)
        between = (labels.double() / 3 - 0.5).to(dtype)
        torch.testing.assert_close(soft_nms(boxes, scores, between.requires_grad_()), wanted, rtol=0, atol=0)


@each_implementation
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sigma_that_float32_does_not_hold(run, dtype):
    """exp(-0.81 / 1e-46) is 0, and exp(-0.81 / 1e39) is 1."""
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [0, 9.9, 10, 19.9], [20, 20, 30, 30]]).to(dtype)
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    for sigma in (1e-46, 1e-40, 1e-300, 5e-324):
        indices, decayed = run(boxes, scores, sigma=sigma)
        assert indices.tolist() == [0, 3] and decayed.tolist() == scores[[0, 3]].tolist()
        indices, decayed = run(boxes, scores, sigma=sigma, score_threshold=0)
        assert indices.tolist() == [0, 3, 1, 2] and decayed[2:].tolist() == [0, 0]
    for sigma in (1e39, 1e300):
        indices, decayed = run(boxes, scores, sigma=sigma)
        assert indices.tolist() == [0, 1, 2, 3] and decayed.tolist() == scores.tolist()
    # So little overlap that its square is 0 in float32.
    thin = torch.tensor([[0, 0, 1e15, 1e15], [0, 0, 1e-15, 1e-15]])
    assert run(thin, scores[:2], sigma=1e30)[0].tolist() == [0, 1]


@each_implementation
@each_method
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("threshold", "kept"),
    [
        (1e-46, [1, 0, 2]),
        (-1e-46, [1, 0, 2, 3]),
        (-1e39, [1, 0, 2, 3, 4]),
        (1e39, [1]),
        (5e-324, [1, 0, 2]),
        (-5e-324, [1, 0, 2, 3]),
        (-1e308, [1, 0, 2, 3, 4]),
        (1e308, [1]),
    ],
)
def test_a_score_threshold_that_float32_does_not_hold(run, method, dtype, threshold, kept):
    """A score of 0 is below 1e-46, one of -inf is below -1e39, and 3e38 is below 1e39."""
    boxes = torch.arange(6.0)[:, None] * 10 + torch.tensor([0, 0, 5, 5.0])
    scores = torch.tensor([3e38, math.inf, 2.0**-126, 0.0, -3e38, -math.inf]).to(dtype)
    indices, decayed = run(boxes.to(dtype), scores, method=method, score_threshold=threshold)
    assert indices.tolist() == kept and decayed.tolist() == scores[kept].tolist()


@pytest.mark.plain
def test_new_options_compile():
    boxes, scores, labels = sample(2, 9)
    options = {"max_candidates": 4, "any_corners": True, "inclusive": True, "score_threshold": None}
    check_compiles(batched_soft_nms, boxes, scores, labels.float(), **options)


@pytest.mark.plain
def test_new_options_export_for_any_number_of_boxes():
    class Thin(torch.nn.Module):
        def forward(self, boxes, scores, labels):
            options = {"max_candidates": 4, "any_corners": True, "inclusive": True, "score_threshold": None}
            return tuple(batched_soft_nms(boxes, scores, labels, **options))

    boxes, scores, labels = sample(2, 9)
    any_size = {1: torch.export.Dim("N", min=2, max=100)}
    program = torch.export.export(Thin(), (boxes, scores, labels.float()), dynamic_shapes=(any_size,) * 3).module()
    for size in (2, 4, 30):
        boxes, scores, labels = sample(2, size)
        torch.testing.assert_close(program(boxes, scores, labels.float()), Thin()(boxes, scores, labels))


@each_implementation
def test_no_boxes_as_an_empty_tensor(run):
    none = torch.tensor([])
    for labels in (None, none, none.long()):
        indices, decayed = run(none, none, labels)
        assert indices.shape == decayed.shape == (0,) and indices.dtype == torch.int64
    assert batched_soft_nms(torch.zeros(2, 0), torch.zeros(2, 0)).indices.shape == (2, 0)
    with pytest.raises(ValueError, match=r"scores must be \[N\] with N = 0, got \[3\]"):
        run(none, torch.rand(3))
    with pytest.raises(ValueError, match=r"boxes must be \[N, 4\], got \[4\]"):
        run(random_boxes(1)[0], torch.rand(1))
