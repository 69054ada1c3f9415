"""ota against the reference, against Megvii's rule written densely, and case by case."""

import pytest
import torch
from impls import SLOW, implementations
from matching import one_gt
from scenes import random_scene, take_image
from torch.testing import assert_close
from transport import RULES, by_scene, check_against_reference, without_objectness

from benchmarks.peers.transport import megvii_ota_problem, megvii_sinkhorn, share
from python_ref.ota import ota_problem, ota_supply
from yolox_ops import Scene, sinkhorn

each_implementation = pytest.mark.parametrize("run", implementations("ota"))


@each_implementation
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("objectness", [True, False])
def test_equals_reference(run, rule, objectness):
    used = positives = 0
    for seed in range(1 if SLOW else 2):
        scene = random_scene([0, 1, 5] + [12] * (not SLOW), size=32 if SLOW else 64, seed=seed, objectness=objectness)
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
    around = torch.cat([points, strides[:, None].expand(N, 2)], 1)
    pred_boxes = around if pred_boxes is None else torch.tensor(pred_boxes).float()
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


@each_implementation
def test_k_counts_the_own_region_only(run):
    """Perfect predictions outside do not raise k, as they do in simota."""
    scene = one_gt([36.0, 36.0, 7.5, 7.5], size=64)._replace(obj_logits=None)
    cost, totals, _ = ota_problem(*take_image(scene, 0))
    assert sum(c < 1e5 for c in cost[0]) == totals[0] == 1
    assert run(*without_objectness(scene)).num_fg.item() == 1


@each_implementation
def test_a_gt_between_the_anchors_gets_one(run):
    """No anchor lies inside; the penalty is equal for all, so the cheapest of all anchors it is."""
    scene = random_scene([6], size=64, seed=2, objectness=False)
    scene.gt_boxes[0, 0] = torch.tensor([17.0, 9, 3, 3])
    scene.gt_boxes[0, 4] = torch.tensor([500.0, 8, 3, 3])
    cost, _, _ = ota_problem(*take_image(scene, 0))
    assert [min(row) > 1e5 for row in cost[:-1]].count(True) >= 2
    result = run(*without_objectness(scene))
    check_against_reference(result, scene)
    assert {0, 4} <= set(result.matched_gt[0].tolist())


@each_implementation
def test_gts_that_share_a_region(run):
    """Copies of one object ask for more than there is; the lower row wins what is equal."""
    one = one_gt([36.0, 36.0, 40.0, 40.0])._replace(obj_logits=None)
    scene = one._replace(gt_boxes=one.gt_boxes.repeat(1, 4, 1), gt_labels=torch.zeros(1, 4, dtype=torch.long))
    cost, totals, _ = ota_problem(*take_image(scene, 0))
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
    cost, totals, _ = ota_problem(*take_image(scene, 0))
    assert scene.strides.shape == (21,) and ota_supply(cost, totals)[-1] == 0
    check_against_reference(run(*without_objectness(scene)), scene)


@each_implementation
def test_fewer_anchors_than_topk(run):
    scene = cell([4, 12], [4, 4], [8, 8], [[8.0, 4, 16, 8]], [1])
    check_against_reference(run(*without_objectness(scene)), scene)
    check_against_reference(run(*without_objectness(scene), topk=2**62), scene)
