"""ota against the reference, against Megvii's rule written densely, and case by case."""

import functools
import math

import pytest
import torch
from impls import DTYPES, SLOW, check_compiles, check_registration, implementations, strided
from matching import one_gt, tensors
from scenes import Scene, random_scene
from torch.testing import assert_close
from transport import RULES, by_scene, check_against_reference

from benchmarks.peers_ota import megvii_ota_problem, megvii_sinkhorn, share
from python_ref.ota import ota_problem, ota_supply
from yolox_ops import ota, sinkhorn

each_implementation = pytest.mark.parametrize("run", implementations("ota"))


@each_implementation
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("objectness", [True, False])
def test_equals_reference(run, rule, objectness):
    used = positives = 0
    for seed in range(1 if SLOW else 4):
        scene = random_scene([0, 1, 5, 12], size=64, seed=seed, objectness=objectness)
        result = by_scene(run)(scene, **rule)
        assert result.matched_gt.dtype == torch.int64 and result.matched_iou.dtype == torch.float32
        used += check_against_reference(result, scene, **rule)
        positives += int(result.num_fg.sum())
    assert positives > 0 and used <= 1 + positives // 500


def check_dense(result, scene, most):
    """Image by image against Megvii's rule in float64, with every cost and every pair; at most `most` near-ties."""
    used = 0
    for b, count in enumerate(scene.num_gts.tolist()):
        image = (scene.pred_boxes[b], scene.cls_logits[b], scene.anchor_points, scene.strides)
        gts = (scene.gt_boxes[b, :count], scene.gt_labels[b, :count])
        doubles = [t.double() if t.is_floating_point() else t for t in (*image, *gts)]
        cost, supply, totals, iou = megvii_ota_problem(*doubles)
        assert ((totals + 1e-5).int() == (totals - 1e-5).int()).all(), "a k next to another: take another seed"
        plan = megvii_sinkhorn(cost, supply, cost.new_ones(cost.shape[1]))
        ours = sinkhorn(cost[None], supply[None], cost.new_ones(1, cost.shape[1]))
        assert_close(ours[0], plan, rtol=0, atol=1e-4)
        shares = share(plan)
        best, row = shares.max(0)
        found = torch.where(result.matched_gt[b] < 0, count, result.matched_gt[b])
        assert (shares.gather(0, found[None])[0] >= best * (1 - 2e-4)).all()
        used += int((found != row).sum())
        positive = found < count
        assert_close(result.matched_iou[b, positive], iou[found[positive], positive.nonzero()[:, 0]].float())
    assert used <= most
    assert torch.equal(result.num_fg, (result.matched_gt >= 0).sum(1))


@each_implementation
@pytest.mark.parametrize(("gts", "classes", "size"), [(12, 80, 320)] if SLOW else [(12, 80, 640), (50, 3, 320)])
def test_large_image(run, gts, classes, size):
    scene = random_scene([gts], classes=classes, size=size, seed=gts, objectness=False)
    check_dense(by_scene(run)(scene), scene, 1)


@pytest.mark.heavy
@each_implementation
def test_crowded_large_image(run, request):
    gts = 20 if request.node.get_closest_marker("served_by") else 120
    scene = random_scene([gts], classes=5, size=1280, seed=6, objectness=False)
    assert scene.strides.shape == (33600,)
    check_dense(by_scene(run)(scene), scene, 2)


def cell(x, y, stride, gt_boxes, gt_labels, pred_boxes=None, logits=None):
    """A scene of anchors given one by one, which predict their own surroundings."""
    points, strides = torch.tensor([x, y]).float().T.contiguous(), torch.tensor(stride).float()
    N = len(strides)
    own = torch.cat([points, strides[:, None].expand(N, 2)], 1)
    pred_boxes = own if pred_boxes is None else torch.tensor(pred_boxes).float()
    logits = torch.zeros(N, 2) if logits is None else torch.tensor(logits).float()
    labels = torch.tensor([gt_labels])
    return Scene(pred_boxes[None], logits[None], None, points, strides, torch.tensor([gt_boxes]).float(), labels, None)


@each_implementation
def test_regions(run):
    """In the box by more than 0.01 pixels, and strictly within 2.5 strides. The rest of a box is as good, were it
    inside: the predictions are perfect."""
    for x, inside in [(20.0, True), (8.02, True), (8.005, False), (7.0, False), (39.98, True), (39.995, False)]:
        scene = cell([24, x], [24, 24], [8, 8], [[24.0, 24, 32, 32]], [0], [[24, 24, 32, 32]] * 2)
        assert (run(*without_objectness(scene), iterations=8).matched_gt[0, 1] == 0).item() is inside, x
    for x, inside in [(43.9, True), (44.0, False), (4.1, True), (4.0, False)]:
        scene = cell([24, x], [24, 24], [8, 8], [[24.0, 24, 90, 90]], [0], [[24, 24, 90, 90]] * 2)
        assert (run(*without_objectness(scene), iterations=8).matched_gt[0, 1] == 0).item() is inside, x


def without_objectness(scene):
    assert scene.obj_logits is None
    return (scene.pred_boxes, scene.cls_logits, *scene[3:])


@each_implementation
def test_k_counts_the_own_region_only(run):
    """Perfect predictions outside do not raise k, as they do in simota."""
    scene = one_gt([36.0, 36.0, 7.5, 7.5], size=64)._replace(obj_logits=None)
    cost, totals, _ = ota_problem(*scene.image(0))
    assert sum(c < 1e5 for c in cost[0]) == totals[0] == 1
    assert run(*without_objectness(scene)).num_fg.item() == 1


@each_implementation
def test_a_gt_between_the_anchors_gets_one(run):
    """No anchor lies inside; the penalty is equal for all, so the cheapest of all anchors it is."""
    scene = random_scene([6], size=64, seed=2, objectness=False)
    scene.gt_boxes[0, 0] = torch.tensor([17.0, 9, 3, 3])
    scene.gt_boxes[0, 4] = torch.tensor([500.0, 8, 3, 3])
    cost, _, _ = ota_problem(*scene.image(0))
    assert [min(row) > 1e5 for row in cost[:-1]].count(True) >= 2
    result = run(*without_objectness(scene))
    check_against_reference(result, scene)
    assert {0, 4} <= set(result.matched_gt[0].tolist())


@each_implementation
def test_gts_that_share_a_region(run):
    """Copies of one object ask for more than there is; the lower row wins what is equal."""
    one = one_gt([36.0, 36.0, 40.0, 40.0])._replace(obj_logits=None)
    scene = one._replace(gt_boxes=one.gt_boxes.repeat(1, 4, 1), gt_labels=torch.zeros(1, 4, dtype=torch.long))
    cost, totals, _ = ota_problem(*scene.image(0))
    assert sum(totals) > sum(c < 1e5 for c in cost[0])
    result = run(*without_objectness(scene))
    assert set(result.matched_gt.unique().tolist()) == {-1, 0}
    moved = random_scene([9], size=64, seed=8, objectness=False)
    moved.gt_boxes[0, :9] = torch.tensor([30.0, 34, 30, 30]) + torch.randn(9, 4).round()
    check_against_reference(run(*without_objectness(moved)), moved)


@each_implementation
def test_more_supply_than_anchors(run):
    """The background supplies 0, not less."""
    scene = random_scene([30], size=32, seed=2, objectness=False)
    cost, totals, _ = ota_problem(*scene.image(0))
    assert scene.strides.shape == (21,) and ota_supply(cost, totals)[-1] == 0
    check_against_reference(run(*without_objectness(scene)), scene)


@each_implementation
def test_fewer_anchors_than_topk(run):
    scene = cell([4, 12], [4, 4], [8, 8], [[8.0, 4, 16, 8]], [1])
    check_against_reference(run(*without_objectness(scene)), scene)


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
    scene = random_scene([4, 6, 4], size=64, seed=11)
    clean = by_scene(run)(scene, iterations=8)
    broken = scene._replace(**{field: getattr(scene, field).clone()})
    getattr(broken, field)[1, ::2] = value
    result = by_scene(run)(broken, iterations=8)
    assert result.matched_iou.isfinite().all()
    for b in (0, 2):
        assert torch.equal(result.matched_gt[b], clean.matched_gt[b])
    check_against_reference(result, broken, iterations=8)


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


def test_registration():
    for objectness in (True, False):
        check_registration("ota", *random_scene([3, 0], size=32, objectness=objectness), *BARE_RULE)


def test_compiles():
    check_compiles(lambda *scene: tuple(by_scene(ota)(Scene(*scene))), *random_scene([3, 0], size=32))
