"""Inputs of simota that are empty, degenerate, of other types, or wrong."""

import math

import pytest
import torch
from impls import DTYPES, implementations, strided
from matching import RULES, check_against_reference, one_gt, tensors
from scenes import random_gts, random_scene
from torch.testing import assert_close

from yolox_ops import simota, simota_cost
from yolox_ops.yolox import anchor_grid

each_implementation = pytest.mark.parametrize("run", implementations("simota"))


@each_implementation
@pytest.mark.parametrize("counts", [[0], [0, 0, 0], [0, 4, 0]])
def test_images_without_gts(run, counts):
    scene = random_scene(counts)
    result = run(*scene)
    assert (result.num_fg > 0).tolist() == [count > 0 for count in counts]
    check_against_reference(result, scene)


@each_implementation
@pytest.mark.parametrize("shape", [(0, 84, 3, 2), (2, 0, 3, 2), (2, 84, 0, 2), (2, 84, 0, 0), (0, 0, 0, 0)])
def test_empty_dimensions(run, shape):
    B, N, G, C = shape
    points, strides = (t[:N] for t in anchor_grid(64, 64))
    result = run(
        torch.rand(B, N, 4),
        torch.rand(B, N, C),
        None,
        points,
        strides,
        torch.rand(B, G, 4),
        torch.zeros(B, G, dtype=torch.int32),
    )
    assert result.matched_gt.shape == (B, N) and (result.matched_gt == -1).all()
    assert result.num_fg.shape == (B,) and (result.num_fg == 0).all()


@each_implementation
def test_gts_without_candidates(run):
    scene = random_scene([3, 3], seed=1)
    scene.gt_boxes[0, :, :2] = 5000.0
    scene.gt_boxes[1, 1, :2] = -5000.0
    result = run(*scene)
    assert result.num_fg[0] == 0 and result.num_fg[1] > 0
    check_against_reference(result, scene)


@each_implementation
def test_more_gts_than_anchors(run):
    scene = random_scene([40], size=32, seed=2)
    result = run(*scene)
    assert len(scene.strides) == 21
    check_against_reference(result, scene)


@each_implementation
@pytest.mark.parametrize("size", [[0.0, 0.0], [-5.0, 9.0], [-5.0, -9.0], [1e-6, 30.0], [1e6, 1e6]])
@pytest.mark.parametrize("rule", RULES[:3])
def test_degenerate_gts(run, size, rule):
    scene = random_scene([4, 4], seed=7)
    scene.gt_boxes[0, 1, 2:] = torch.tensor(size)
    scene.pred_boxes[0, ::3, 2:] = torch.tensor(size)
    check_against_reference(run(*scene, **rule), scene, **rule)


@each_implementation
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["pred_boxes", "cls_logits", "obj_logits"])
@pytest.mark.parametrize("rule", RULES[:3])
def test_bad_predictions_are_the_worst_choice(run, value, field, rule):
    scene = random_scene([4, 6, 4], size=96, seed=11)
    clean = run(*scene, **rule)
    broken = scene._replace(**{field: getattr(scene, field).clone()})
    getattr(broken, field)[1, ::2] = value
    result = run(*broken, **rule)
    assert result.matched_iou.isfinite().all()
    for b in (0, 2):
        assert torch.equal(result.matched_gt[b], clean.matched_gt[b])
    check_against_reference(result, broken, **rule)


@each_implementation
def test_everything_is_nan(run):
    scene = random_scene([4])
    broken = scene._replace(pred_boxes=scene.pred_boxes * math.nan, cls_logits=scene.cls_logits * math.nan)
    result = run(*broken)
    check_against_reference(result, broken)
    assert (result.matched_iou == 0).all()


@each_implementation
@pytest.mark.parametrize("logit", [-math.inf, -1e4, -100.0, -40.0, 40.0, 100.0, 1e4, math.inf])
def test_saturated_logits(run, logit):
    scene = random_scene([5], classes=7, seed=13)
    scene.cls_logits[:, ::3, ::2] = logit
    scene.obj_logits[:, ::2] = abs(logit)
    check_against_reference(run(*scene), scene)


def test_labels_out_of_range():
    for label in (-1, 5):
        scene = random_scene([2, 3], classes=5)
        scene.gt_labels[1, 2] = label
        with pytest.raises(ValueError, match=rf"gt_labels must be in \[0, 5\), got {label} at image 1, row 2"):
            simota(*scene)
        scene.gt_labels[1, 3], scene.gt_labels[1, 2] = label, 0  # row 3 is padding
        simota(*scene)


def test_nan_gts():
    scene = random_scene([2, 3])
    scene.gt_boxes[0, 2] = math.nan  # padding
    simota(*scene)
    scene.gt_boxes[0, 1, 3] = math.nan
    with pytest.raises(ValueError, match="gt_boxes must not be NaN, got NaN at image 0, row 1"):
        simota(*scene)


@pytest.mark.parametrize("count", [-1, 6])
def test_num_gts_out_of_range(count):
    scene = random_scene([2, 3])._replace(num_gts=torch.tensor([2, count]))
    for op in (simota, simota_cost):
        with pytest.raises(ValueError, match=rf"num_gts must be in \[0, 5\], got {count} at image 1"):
            op(*scene)


@each_implementation
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(run, dtype):
    scene = random_scene([3, 7], seed=17)
    cast = scene._replace(
        pred_boxes=scene.pred_boxes.to(dtype),
        cls_logits=scene.cls_logits.to(dtype),
        obj_logits=scene.obj_logits.to(dtype),
        gt_labels=scene.gt_labels.int(),
        num_gts=scene.num_gts.int(),
    )
    check_against_reference(run(*cast), cast)
    everything = tensors(scene, lambda t: t.to(dtype) if t.is_floating_point() else t)
    check_against_reference(run(*everything), everything)


@each_implementation
def test_float64_decides_what_float32_cannot(run):
    scene = one_gt([36.0, 36.0, 40.0, 40.0])
    logits = -1e-9 * torch.arange(len(scene.strides), dtype=torch.float64).reshape(1, -1, 1)
    scene = tensors(scene, lambda t: t.double() if t.is_floating_point() else t)._replace(cls_logits=-logits)
    candidates = simota_cost(*scene).cost[0, 0].isfinite().nonzero().flatten()
    assert run(*scene, topk=4).fg_mask[0].nonzero().flatten().tolist() == candidates[-4:].tolist()


@each_implementation
def test_strides_do_not_matter(run):
    scene = random_scene([3, 7], seed=19)
    plain = run(*scene)
    for change in (strided, lambda t: t.transpose(0, -1).contiguous().transpose(0, -1)):
        assert_close(tuple(run(*tensors(scene, change))), tuple(plain), rtol=0, atol=0)
    same = scene._replace(
        gt_boxes=scene.gt_boxes[:1].expand(2, -1, -1), gt_labels=scene.gt_labels[:1].expand(2, -1), num_gts=None
    )
    assert_close(
        tuple(run(*same)), tuple(run(*tensors(same, lambda t: t.clone(memory_format=torch.contiguous_format))))
    )


GOOD = random_scene([3, 2], size=32)


@pytest.mark.parametrize(
    ("change", "rule", "error", "words"),
    [
        ({"pred_boxes": GOOD.pred_boxes[0]}, {}, ValueError, r"pred_boxes must be \[B, N, 4\], got \[21, 4\]"),
        (
            {"cls_logits": GOOD.cls_logits[:1]},
            {},
            ValueError,
            r"cls_logits must be \[B, N, C\] with B = 2, got \[1, 21, 5\]",
        ),
        ({"obj_logits": GOOD.obj_logits[..., None]}, {}, ValueError, r"obj_logits must be \[B, N\], got \[2, 21, 1\]"),
        (
            {"anchor_points": GOOD.anchor_points[:5]},
            {},
            ValueError,
            r"anchor_points must be \[N, 2\] with N = 21, got \[5, 2\]",
        ),
        ({"strides": GOOD.strides[None]}, {}, ValueError, r"strides must be \[N\], got \[1, 21\]"),
        ({"gt_boxes": torch.rand(2, 7, 5)}, {}, ValueError, r"gt_boxes must be \[B, G, 4\], got \[2, 7, 5\]"),
        ({"gt_labels": GOOD.gt_labels[:, :1]}, {}, ValueError, r"gt_labels must be \[B, G\] with G = 5, got \[2, 1\]"),
        (
            {"gt_labels": GOOD.gt_labels.float()},
            {},
            TypeError,
            "gt_labels must be an integer tensor, got torch.float32",
        ),
        ({"num_gts": torch.tensor([1])}, {}, ValueError, r"num_gts must be \[B\] with B = 2, got \[1\]"),
        ({"num_gts": [1, 2]}, {}, TypeError, "num_gts must be a torch.Tensor, got list"),
        ({"pred_boxes": GOOD.pred_boxes.long()}, {}, TypeError, "pred_boxes must be float32, .* got torch.int64"),
        ({"strides": GOOD.strides.to("meta")}, {}, ValueError, "strides must be on the device of pred_boxes"),
        ({}, {"topk": 0}, ValueError, "topk must be at least 1, got 0"),
        ({}, {"topk": 2.5}, TypeError, "topk must be an integer, got 2.5"),
        ({}, {"center_radius": "2.5"}, TypeError, "center_radius must be a number, got '2.5'"),
        ({}, {"center_radius": 10**400}, ValueError, "center_radius must fit into a float, got an integer of 1329"),
        ({}, {"topk": True}, TypeError, "topk must be an integer, got True"),
        ({}, {"center_radius": 0}, ValueError, "center_radius must be positive and finite, got 0"),
        ({}, {"center_radius": math.inf}, ValueError, "center_radius must be positive and finite, got inf"),
        (
            {},
            {"candidates": "box"},
            ValueError,
            "candidates must be one of 'center', 'box_or_center', 'all', got 'box'",
        ),
        ({}, {"outside_penalty": -1.0}, ValueError, r"outside_penalty must be in \[0, 1e\+09\], got -1.0"),
        ({}, {"outside_penalty": math.inf}, ValueError, r"outside_penalty must be in \[0, 1e\+09\], got inf"),
        ({}, {"k_rounding": "up"}, ValueError, "k_rounding must be one of 'down', 'nearest', got 'up'"),
        ({}, {"iou_eps": 0.0}, ValueError, r"iou_eps must be in \[1e-30, 1\], got 0.0"),
        ({}, {"iou_weight": math.nan}, ValueError, r"iou_weight must be in \[0, 1e\+06\], got nan"),
        ({}, {"cls_weight": 1e7}, ValueError, r"cls_weight must be in \[0, 1e\+06\], got 10000000.0"),
    ],
)
def test_errors(change, rule, error, words):
    with pytest.raises(error, match=words):
        simota(*GOOD._replace(**change), **rule)


def test_the_bare_op_guards_its_memory():
    rule = (1.5, "center", 1e6, 1.0, 3.0, 1e-8, 10, "down")
    for change, words in [
        ({"gt_labels": GOOD.gt_labels[:, :2]}, r"gt_labels must be \[B, G\], got \[2, 2\]"),
        ({"anchor_points": GOOD.anchor_points[:20]}, r"anchor_points must be \[N, 2\], got \[20, 2\]"),
        ({"cls_logits": GOOD.cls_logits[:, :20]}, r"cls_logits must be \[B, N, C\], got \[2, 20, 5\]"),
        ({"obj_logits": GOOD.obj_logits.long()}, "obj_logits must be float32"),
        ({"gt_boxes": GOOD.gt_boxes.long()}, "gt_boxes must be float32"),
        ({"anchor_points": GOOD.anchor_points.bool()}, "anchor_points must be float32"),
        ({"strides": GOOD.strides.int()}, "strides must be float32"),
        ({"gt_labels": GOOD.gt_labels.float()}, "gt_labels must be an integer tensor"),
        ({"num_gts": torch.tensor([1.0, 2.0])}, "num_gts must be an integer tensor"),
        ({"num_gts": torch.tensor([3, 99])}, "num_gts must be in"),
    ]:
        with pytest.raises(ValueError, match=words):
            torch.ops.yolox_ops.simota(*GOOD._replace(**change), *rule)
    for position, value, words in [
        (0, math.nan, "center_radius must be positive"),
        (1, "box", "candidates must be"),
        (2, math.inf, "outside_penalty must be in"),
        (3, -1.0, "cls_weight must be in"),
        (4, math.nan, "iou_weight must be in"),
        (5, 0.0, "iou_eps must be in"),
        (6, 0, "topk must be at least 1"),
        (7, "up", "k_rounding must be 'down' or 'nearest'"),
    ]:
        with pytest.raises(ValueError, match=words):
            torch.ops.yolox_ops.simota(*GOOD, *rule[:position], value, *rule[position + 1 :])


def test_random_gts_reach_over_the_border():
    """The scenes above are worth little unless they hold objects at and beyond the border."""
    boxes = random_gts((1000,), 96, torch.Generator().manual_seed(0))
    assert (boxes[:, 0] < 0).any() and (boxes[:, 0] > 96).any()
