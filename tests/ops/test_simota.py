"""The rule of simota, against the reference and case by case."""

import math

import pytest
import torch
from impls import SLOW, implementations
from matching import RULES, check_against_reference, one_gt
from scenes import random_scene
from torch.testing import assert_close

from python_ref.pairwise_iou import similarity
from yolox_ops import dynamic_k_match, simota_cost

each_implementation = pytest.mark.parametrize("run", implementations("simota"))


@each_implementation
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("objectness", [True, False])
def test_equals_reference(run, rule, objectness):
    used = positives = 0
    for seed in range(1 if SLOW else 3):
        scene = random_scene([0, 1, 5, 12, 3], size=96, seed=seed, objectness=objectness)
        result = run(*scene, **rule)
        assert result.matched_gt.dtype == torch.int64 and result.matched_iou.dtype == torch.float32
        assert torch.equal(result.fg_mask, result.matched_gt >= 0)
        used += check_against_reference(result, scene, **rule)
        positives += int(result.num_fg.sum())
    assert used <= 1 + positives // 1000


@each_implementation
def test_full_size_image(run):
    scene = random_scene([12], classes=80, size=640, seed=3)
    assert check_against_reference(run(*scene), scene) <= 1


@each_implementation
def test_many_classes(run):
    scene = random_scene([3], classes=1203, size=64, seed=5)
    assert check_against_reference(run(*scene), scene) <= 1


@each_implementation
@pytest.mark.parametrize("classes", [1, 15, 16, 17, 31, 1024, 1025])
def test_class_counts_around_the_width_of_a_vector(run, classes):
    scene = random_scene([4], classes=classes, size=32, seed=classes)
    check_against_reference(run(*scene), scene)


@each_implementation
@pytest.mark.parametrize(
    ("centre", "count"),
    # Counted with Megvii's get_geometry_constraint at 640 x 640.
    [
        ((320, 320), 12),
        ((324, 324), 27),
        ((0, 0), 3),
        ((0, 320), 6),
        ((-11, 320), 4),
        ((-31.9, 320), 2),
        ((-32, 320), 0),
    ],
)
def test_centre_test_is_strict(run, centre, count):
    scene = one_gt([*centre, 40.0, 40.0], size=640)
    cost = simota_cost(*scene).cost
    assert cost.isfinite().sum() == count
    result = run(*scene, topk=count + 1)
    # All predictions equal the ground truth, so k is the number of candidates.
    assert result.num_fg.item() == count


@each_implementation
def test_centre_test_rounds_as_its_dtype_does(run):
    # Megvii's own comparisons, cx - r < x < cx + r, at centres next to where they turn.
    scene = one_gt([8.0, 20.0, 40.0, 40.0])
    edges = (scene.anchor_points[:64, 0] - 12, scene.anchor_points[:64, 0] + 12)
    for edge in torch.cat(edges).unique().tolist():
        for towards in (-math.inf, math.inf):
            cx = torch.nextafter(torch.tensor(edge), torch.tensor(towards))
            scene.gt_boxes[0, 0, 0] = cx
            x, y = scene.anchor_points.T
            reach = 1.5 * scene.strides
            wanted = (cx - reach < x) & (x < cx + reach) & (20 - reach < y) & (y < 20 + reach)
            assert torch.equal(simota_cost(*scene).cost[0, 0].isfinite(), wanted)
            assert (run(*scene).num_fg > 0) == wanted.any()


@each_implementation
def test_ties_go_to_the_lower_anchor(run):
    scene = one_gt([36.0, 36.0, 40.0, 40.0])
    candidates = simota_cost(*scene).cost[0, 0].isfinite().nonzero().flatten()
    for topk in (1, 4, 10):
        assert run(*scene, topk=topk).fg_mask[0].nonzero().flatten().tolist() == candidates[:topk].tolist()


@each_implementation
def test_ties_go_to_the_lower_gt(run):
    scene = one_gt([36.0, 36.0, 40.0, 40.0])
    twice = scene._replace(gt_boxes=scene.gt_boxes.repeat(1, 3, 1), gt_labels=torch.zeros(1, 3, dtype=torch.long))
    result = run(*twice)
    assert result.num_fg.item() == 10
    assert set(result.matched_gt.unique().tolist()) == {-1, 0}


@each_implementation
def test_k_counts_the_candidates_of_the_whole_image(run):
    # Each object alone has k = 1: none of its own predictions overlaps it well. But the other object's anchors do.
    scene = one_gt([16.0, 16.0, 16.0, 16.0], size=64)
    far = torch.tensor([[[16.0, 16.0, 16.0, 16.0], [48.0, 48.0, 16.0, 16.0]]])
    near_first = (scene.anchor_points - 16).abs().amax(-1) < 1.5 * scene.strides
    pred = scene.pred_boxes.clone()
    pred[0, near_first] = torch.tensor([200.0, 200.0, 4.0, 4.0])
    scene = scene._replace(pred_boxes=pred, gt_boxes=far, gt_labels=torch.zeros(1, 2, dtype=torch.long))
    alone = scene._replace(gt_boxes=far[:, :1], gt_labels=scene.gt_labels[:, :1])
    assert run(*alone).num_fg.item() == 1
    result = run(*scene)
    assert (result.matched_gt == 0).sum().item() > 1
    check_against_reference(result, scene)


@each_implementation
def test_conflict_goes_to_a_gt_that_did_not_take_the_anchor(run):
    # Searched for among random scenes, where it is not rare.
    for seed in range(200):
        scene = random_scene([6], classes=2, size=32, seed=seed)
        cost, iou = (matrix[0, :6].tolist() for matrix in simota_cost(*scene))
        takers: dict[int, set[int]] = {}
        for g, row in enumerate(cost):
            k = max(1, int(sum(sorted(iou[g], reverse=True)[:10])))
            for j in sorted(range(len(row)), key=lambda j: (row[j], j))[:k]:
                takers.setdefault(j, set()).add(g)
        stolen = [
            (j, best)
            for j, gts in takers.items()
            if len(gts) > 1 and (best := min(range(6), key=lambda g: cost[g][j])) not in gts
        ]
        if stolen:
            result = run(*scene)
            assert all(result.matched_gt[0, j] == thief for j, thief in stolen)
            return
    pytest.fail("no scene with a stolen anchor among 200")


@each_implementation
def test_border_gt_takes_penalised_anchors(run):
    # The corner object has 3 candidates of its own and k = 10: the other 7 come from the object in the middle.
    scene = one_gt([0.0, 0.0, 60.0, 60.0], size=64)
    boxes = torch.tensor([[[0.0, 0.0, 60.0, 60.0], [36.0, 36.0, 4.0, 4.0]]])
    logits = torch.zeros(1, len(scene.strides), 2)
    logits[..., 1] = torch.linspace(0, 8, len(scene.strides))
    scene = scene._replace(cls_logits=logits, gt_boxes=boxes, gt_labels=torch.tensor([[0, 1]]))
    result = run(*scene)
    check_against_reference(result, scene)
    inside = simota_cost(*scene).cost[0, 0] < 1e6
    assert inside.sum() == 3
    assert (result.matched_gt[0] == 0)[~inside].sum() > 0


@each_implementation
def test_the_penalty_rounds_no_cost(run):
    # Penalised costs that differ by less than float32 can tell apart at 1e6 (0.0625) must still be ordered.
    scene = one_gt([-11.0, 32.0, 60.0, 60.0], size=64)
    boxes = torch.tensor([[[-11.0, 32.0, 60.0, 60.0], [40.0, 32.0, 4.0, 4.0]]])
    # Lower anchors are dearer, by 0.001 each: the reverse of what a tie would choose.
    logits = torch.zeros(1, len(scene.strides), 2)
    logits[..., 0] = torch.linspace(0, 0.1, len(scene.strides))
    scene = scene._replace(cls_logits=logits, gt_boxes=boxes, gt_labels=torch.tensor([[0, 1]]))
    cost = simota_cost(*scene).cost[0, 0]
    inside = cost < 1e6
    wanted = [j for j in cost.argsort().tolist() if cost[j].isfinite() and not inside[j]][: 10 - int(inside.sum())]
    taken = (run(*scene).matched_gt[0] == 0) & ~inside
    assert inside.sum() == 4 and set(taken.nonzero().flatten().tolist()) <= set(wanted)
    assert taken.sum() >= 3
    check_against_reference(run(*scene), scene)


@each_implementation
def test_anchors_need_not_be_a_grid(run):
    scene = random_scene([5, 9], seed=23)
    order = torch.randperm(len(scene.strides))
    shuffled = scene._replace(
        pred_boxes=scene.pred_boxes[:, order],
        cls_logits=scene.cls_logits[:, order],
        obj_logits=scene.obj_logits[:, order],
        anchor_points=scene.anchor_points[order],
        strides=scene.strides[order],
    )
    for rule in RULES[:2]:
        result = run(*shuffled, **rule)
        check_against_reference(result, shuffled, **rule)
        assert torch.equal(result.matched_gt, run(*scene, **rule).matched_gt[:, order])


@each_implementation
@pytest.mark.parametrize("axis", [0, 1])
def test_anchors_may_almost_be_a_grid(run, axis):
    scene = random_scene([9], seed=27)
    scene.anchor_points[77, axis] += 40  # away from where its row and column would have it
    scene.gt_boxes[0, 4, :2] = scene.anchor_points[77]
    check_against_reference(run(*scene), scene)
    assert simota_cost(*scene).cost[0, 4, 77] < 1e6


@pytest.mark.heavy
@each_implementation
@pytest.mark.parametrize("rule", RULES[:2])
def test_thousands_of_gts(run, rule, request):
    """2000 on 33,600 anchors; where a kernel is simulated, more than a block has threads, on 8400."""
    gts, size = (1100, 640) if request.node.get_closest_marker("served_by") else (2000, 1280)
    scene = random_scene([gts], classes=80, size=size, seed=29)
    result = run(*scene, **rule)
    matched = dynamic_k_match(*simota_cost(*scene, **rule), scene.num_gts)
    assert_close(tuple(result), tuple(matched), rtol=0, atol=0)
    for j in result.fg_mask[0].nonzero().flatten()[:200].tolist():
        gt = scene.gt_boxes[0, result.matched_gt[0, j]].tolist()
        overlap = similarity(gt, scene.pred_boxes[0, j].tolist(), "cxcywh")
        assert result.matched_iou[0, j].item() == pytest.approx(overlap, abs=1e-6)
