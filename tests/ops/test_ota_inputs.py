"""Inputs of ota that are empty, broken, of other types, or wrong; and its registration."""

import functools
import math

import pytest
import torch
from impls import DTYPES, check_compiles, check_registration, implementations, strided
from matching import tensors
from scenes import random_scene
from torch.testing import assert_close
from transport import by_scene, check_against_reference, without_objectness

from yolox_ops import Scene, ota

each_implementation = pytest.mark.parametrize("run", implementations("ota"))


@each_implementation
@pytest.mark.parametrize("counts", [[0], [0, 0, 0], [0, 4, 0]])
def test_images_without_gts(run, counts):
    scene = random_scene(counts)
    scene.gt_boxes[0] = math.nan  # padding
    scene.gt_labels[0] = 99
    result = by_scene(run)(scene)
    assert (result.num_fg > 0).tolist() == [count > 0 for count in counts]
    check_against_reference(result, scene)


@each_implementation
@pytest.mark.parametrize("shape", [(0, 84, 3, 2), (2, 0, 3, 2), (2, 84, 0, 2), (2, 84, 0, 0), (0, 0, 0, 0)])
def test_empty_dimensions(run, shape):
    B, N, G, C = shape
    points, strides = torch.rand(N, 2), torch.ones(N)
    labels = torch.zeros(B, G, dtype=torch.int32)
    result = run(torch.rand(B, N, 4), torch.rand(B, N, C), points, strides, torch.rand(B, G, 4), labels)
    assert result.matched_gt.shape == (B, N) and (result.matched_gt == -1).all()
    assert result.num_fg.shape == (B,) and (result.num_fg == 0).all()


@each_implementation
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["pred_boxes", "cls_logits", "obj_logits"])
def test_bad_predictions(run, value, field):
    iterations = 8
    scene = random_scene([4, 6, 4], size=64, seed=11)
    clean = by_scene(run)(scene, iterations=iterations)
    broken = scene._replace(**{field: getattr(scene, field).clone()})
    getattr(broken, field)[1, ::2] = value
    result = by_scene(run)(broken, iterations=iterations)
    assert result.matched_iou.isfinite().all()
    for b in (0, 2):
        assert torch.equal(result.matched_gt[b], clean.matched_gt[b])
    check_against_reference(result, broken, iterations=iterations)


@each_implementation
def test_a_gt_of_broken_predictions(run):
    """All within its region are NaN: it looks further; all are: it supplies nothing."""
    scene = random_scene([3], size=64, seed=3, objectness=False)
    x, y = scene.anchor_points.T
    scene.gt_boxes[0, 0] = torch.tensor([16.0, 16, 20, 20])
    scene.pred_boxes[0, (x < 28) & (y < 28), 1] = math.nan
    result = run(*without_objectness(scene))
    check_against_reference(result, scene)
    assert (result.matched_gt == 0).any()
    scene.cls_logits[..., scene.gt_labels[0, 0]] = math.nan
    result = run(*without_objectness(scene))
    check_against_reference(result, scene)
    assert not (result.matched_gt == 0).any()


@each_implementation
def test_a_gt_that_nothing_can_match_supplies_nothing(run):
    """Nearly as many of them as there are anchors leave the background what it had."""
    scene = random_scene([70], classes=2, size=64, seed=4, objectness=False, pad=0)
    scene.gt_labels[0] = (torch.arange(70) > 0).long()
    scene.cls_logits[..., 1] = math.nan
    result = run(*without_objectness(scene), iterations=8)
    check_against_reference(result, scene, iterations=8)
    alone = scene._replace(gt_boxes=scene.gt_boxes[:, :1], gt_labels=scene.gt_labels[:, :1], num_gts=None)
    assert torch.equal(result.matched_gt, run(*without_objectness(alone), iterations=8).matched_gt)


@each_implementation
@pytest.mark.parametrize("logit", [-math.inf, -1e4, -40.0, 40.0, 1e4, math.inf])
def test_saturated_logits(run, logit):
    scene = random_scene([5], classes=3, size=64, seed=13)
    scene.cls_logits[:, ::3, ::2] = logit
    scene.obj_logits[:, ::2] = abs(logit)
    check_against_reference(by_scene(run)(scene), scene)


@each_implementation
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(run, dtype):
    scene = random_scene([3, 7], size=64, seed=17)
    everything = tensors(scene, lambda t: t.to(dtype) if t.is_floating_point() else t.int())
    check_against_reference(by_scene(run)(everything), everything)


@each_implementation
def test_strides_batches_and_repetition_change_nothing(run):
    scene = random_scene([3, 7, 0], size=64, seed=19)
    assign = functools.partial(by_scene(run), iterations=8)
    plain = assign(scene)
    assert_close(tuple(assign(tensors(scene, strided))), tuple(plain), rtol=0, atol=0)
    assert_close(tuple(assign(scene)), tuple(plain), rtol=0, atol=0)
    for b in range(3):
        alone = Scene(*(t if t.shape[:1] == scene.strides.shape else t[b : b + 1] for t in scene))
        for part, whole in zip(assign(alone), plain, strict=True):
            assert torch.equal(part[0], whole[b])


@each_implementation
def test_anchors_need_not_be_a_grid(run):
    scene = random_scene([5, 9], size=64, seed=23, objectness=False)
    order = torch.randperm(len(scene.strides))
    shuffled = scene._replace(
        pred_boxes=scene.pred_boxes[:, order],
        cls_logits=scene.cls_logits[:, order],
        anchor_points=scene.anchor_points[order],
        strides=scene.strides[order],
    )
    check_against_reference(run(*without_objectness(shuffled)), shuffled)


def test_no_gradient_and_no_change_of_inputs():
    scene = tensors(random_scene([3]), lambda t: t.requires_grad_() if t.is_floating_point() else t)
    before = [t.clone() for t in scene]
    assert not by_scene(ota)(scene).matched_iou.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(scene, before, strict=True))


@pytest.mark.parametrize(
    ("change", "rule", "error", "words"),
    [
        ({"pred_boxes": torch.rand(21, 4)}, {}, ValueError, r"pred_boxes must be \[B, N, 4\], got \[21, 4\]"),
        ({"gt_labels": torch.rand(2, 5)}, {}, TypeError, "gt_labels must be an integer tensor, got torch.float32"),
        (
            {"gt_labels": torch.full((2, 5), 5)},
            {},
            ValueError,
            r"gt_labels must be in \[0, 5\), got 5 at image 0, row 0",
        ),
        ({"gt_boxes": torch.full((2, 5, 4), math.nan)}, {}, ValueError, "gt_boxes must not be NaN, got NaN at image 0"),
        ({"num_gts": torch.tensor([1, 6])}, {}, ValueError, r"num_gts must be in \[0, 5\], got 6 at image 1"),
        ({}, {"center_radius": 0.0}, ValueError, "center_radius must be positive and finite, got 0.0"),
        ({}, {"topk": 0}, ValueError, "topk must be at least 1, got 0"),
        ({}, {"iou_weight": 1001}, ValueError, r"iou_weight must be in \[0, 1000\], got 1001"),
        ({}, {"epsilon": 1e-4}, ValueError, r"epsilon must be in \[0.001, 100\], got 0.0001"),
        ({}, {"epsilon": 0}, ValueError, r"epsilon must be in \[0.001, 100\], got 0"),
        ({}, {"iterations": 0}, ValueError, "iterations must be at least 1, got 0"),
        ({}, {"iterations": 1001}, ValueError, r"iterations must be in \[1, 1000\], got 1001"),
        ({}, {"tolerance": math.nan}, ValueError, "tolerance must be at least 0, got nan"),
        ({}, {"focal_alpha": 1.5}, ValueError, r"focal_alpha must be in \[0, 1\], got 1.5"),
        ({}, {"focal_gamma": -1}, ValueError, r"focal_gamma must be in \[0, 100\], got -1"),
    ],
)
def test_errors(change, rule, error, words):
    with pytest.raises(error, match=words):
        by_scene(ota)(random_scene([3, 2], size=32)._replace(**change), **rule)


BARE_RULE = (2.5, 20, 1.5, 0.1, 50, 0.0, 0.25, 2.0)


def test_the_bare_op_guards_its_rule():
    scene = random_scene([3, 2], size=32)
    for position, value, words in [
        (0, math.nan, "center_radius must be positive"),
        (1, 0, "topk must be at least 1"),
        (2, -1.0, "iou_weight must be in"),
        (3, 0.0, "epsilon must be in"),
        (4, 2000, "iterations must be in"),
        (4, 0, "iterations must be at least 1"),
        (5, -1.0, "tolerance must be at least 0"),
        (6, 2.0, "focal_alpha must be in"),
        (7, math.nan, "focal_gamma must be in"),
    ]:
        with pytest.raises(ValueError, match=words):
            torch.ops.yolox_ops.ota(*scene, *BARE_RULE[:position], value, *BARE_RULE[position + 1 :])


@pytest.mark.plain
def test_registration():
    for objectness in (True, False):
        check_registration("ota", *random_scene([3, 0], size=32, objectness=objectness), *BARE_RULE)


@pytest.mark.plain
def test_compiles():
    check_compiles(lambda *scene: tuple(by_scene(ota)(Scene(*scene))), *random_scene([3, 0], size=32))
