"""What explain says of an assignment: against numbers made by hand, against python_ref, and against the assignment."""

import math

import pytest
import torch
from matching import RULES, one_gt, tensors
from scenes import golden_scene, random_scene, take_image
from torch.testing import assert_close
from wrong_scene import given

from python_ref.dynamic_k_match import cheapest, dynamic_k, sum_largest
from python_ref.exactness import possible_picks
from python_ref.simota_cost import classify_anchor
from python_ref.simota_cost import simota_cost as reference_cost
from yolox_ops import Assignment, Scene, SimOTACost, dynamic_k_match, explain, simota, simota_cost
from yolox_ops.yolox import anchor_grid


def explained_matrices(monkeypatch, cost, iou):
    """explain of one image whose costs and IoUs are these [G, N]; every anchor is a candidate of every ground truth."""
    matrices = SimOTACost(torch.tensor([cost], dtype=torch.float64), torch.tensor([iou]))
    G, N = matrices.cost.shape[1:]

    def made_up(pred_boxes, *rest, **rule):
        return matrices if len(pred_boxes) == 1 else simota_cost(pred_boxes, *rest, **rule)

    monkeypatch.setattr("yolox_ops.explanation.explain.simota_cost", made_up)
    points = torch.stack([torch.arange(N, dtype=torch.float32), torch.zeros(N)], -1)
    return explain(
        dynamic_k_match(*matrices),
        torch.zeros(1, N, 4),
        torch.zeros(1, N, G),
        None,
        points,
        torch.full((N,), 8.0),
        torch.tensor([[[N / 2, 0.0, 4.0, 4.0]] * G]),
        torch.arange(G)[None],
    )


def test_golden_conflicts(monkeypatch):
    # Megvii's simota_matching on a 3 x 5 matrix; anchors 1 and 2 are conflicts.
    cost = [[1, 2, 3, 9, 9], [2.5, 1.5, 0.5, 4, 9], [7, 8, 0.25, 0.75, 2]]
    iou = [[0.9, 0.8, 0.4, 0, 0], [0.5, 0.6, 0.7, 0.3, 0], [0, 0.1, 0.9, 0.8, 0.6]]
    (image,) = explained_matrices(monkeypatch, cost, iou).images
    assert (image.anchors, image.conflicts, image.positives) == (5, 2, 4)
    assert [gt.k for gt in image.gts] == [2, 2, 2]
    assert [gt.region for gt in image.gts] == [5, 5, 5]
    assert [gt.anchors.tolist() for gt in image.gts] == [[0], [1], [2, 3]]
    assert [gt.lost for gt in image.gts] == [{1: 1}, {2: 1}, {}]
    assert [gt.unasked for gt in image.gts] == [0, 0, 0]
    assert [gt.mean_iou for gt in image.gts] == pytest.approx([0.9, 0.6, 0.85])
    assert [gt.reason for gt in image.gts] == ["", "", ""]


def test_golden_conflict_won_by_a_third_gt(monkeypatch):
    # Anchor 0 is asked for by the first two, and goes to the third, which asked for another.
    explanation = explained_matrices(
        monkeypatch, [[1, 9, 9], [2, 9, 9], [0.5, 0.1, 0.2]], [[0.5, 0.1, 0], [0.5, 0.1, 0], [0.4, 0.5, 0.2]]
    )
    first, second, third = explanation.gts
    assert [gt.k for gt in explanation.gts] == [1, 1, 1] and explanation.images[0].conflicts == 1
    assert first.lost == second.lost == {2: 1} and third.lost == {}
    assert (first.positives, second.positives, third.anchors.tolist(), third.unasked) == (0, 0, [0, 1], 1)
    assert math.isnan(first.mean_iou) and third.mean_iou == pytest.approx(0.45)
    assert first.reason == "it lost all that it asked for, 1 to gt 2" and third.reason == ""


def test_golden_assignment():
    scene = golden_scene()
    explanation = explain(simota(*scene), *scene)
    assert explanation.levels == (8, 16, 32)
    assert [gt.anchors.tolist() for gt in explanation.gts] == [[17, 18, 26], [70, 71, 74], [19, 27]]
    assert [gt.per_level for gt in explanation.gts] == [(3, 0, 0), (0, 3, 0), (2, 0, 0)]
    assert [gt.label for gt in explanation.gts] == [0, 2, 1]
    assert [gt.box for gt in explanation.gts] == [(20, 20, 24, 24), (44, 30, 30, 50), (28, 24, 20, 30)]
    means = [(0.43159 + 0.70487 + 0.39351) / 3, (0.56735 + 0.42287 + 0.47765) / 3, (0.64876 + 0.67045) / 2]
    assert [gt.mean_iou for gt in explanation.gts] == pytest.approx(means, abs=1e-5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("objectness", [True, False])
def test_random_scenes_against_the_reference(rule, objectness):
    scene = random_scene([7, 0, 20, 2], size=64, seed=4, objectness=objectness)
    scene.gt_boxes[3, 1, :2] = 5000
    geometric = rule.get("center_radius", 1.5), rule.get("candidates", "center")
    costs = {name: value for name, value in rule.items() if name not in ("topk", "k_rounding")}
    topk, k_rounding = rule.get("topk", 10), rule.get("k_rounding", "down")
    assignment = simota(*scene, **rule)
    explanation = explain(assignment, *scene, **rule)
    doubtful = 0
    for image in explanation.images:
        b = image.image
        args = take_image(scene, b)
        points, strides, boxes = args[3:6]
        assert len(image.gts) == len(boxes) == scene.num_gts[b]
        takers = [0] * len(points)
        for gt in image.gts:
            near = [
                classify_anchor(point, s, boxes[gt.row], *geometric)[1]
                for point, s in zip(points, strides, strict=True)
            ]
            assert gt.region == sum(near)
            # Every anchor asked for is a positive, or another's.
            assert gt.k == gt.positives - gt.unasked + sum(gt.lost.values())
            assert not set(gt.lost) & {-1, gt.row}
            assert gt.anchors.tolist() == (assignment.matched_gt[b] == gt.row).nonzero()[:, 0].tolist()
        if not boxes:
            assert image.conflicts == 0
            continue
        cost, iou = reference_cost(*args, **costs)
        for gt, cost_row, iou_row in zip(image.gts, cost, iou, strict=True):
            asked = set(cheapest(cost_row, dynamic_k(sum_largest(iou_row, topk), k_rounding)))
            must, may = possible_picks(cost_row, iou_row, topk, rule.get("outside_penalty", 1e6), k_rounding)
            assert len(must) <= gt.k <= len(may)
            doubtful += asked != must
            for j in asked:
                takers[j] += 1
            if must == may:
                mine = set(gt.anchors.tolist())
                assert gt.k == len(asked) and gt.unasked == len(mine - asked)
                winners = [int(assignment.matched_gt[b, j]) for j in asked - mine]
                assert gt.lost == {row: winners.count(row) for row in winners}
        assert image.conflicts == sum(n > 1 for n in takers)
    assert explanation.images[0].positives == assignment.num_fg[0] > 0
    assert doubtful <= 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_any_dtype_and_tensors_that_want_gradients(dtype):
    scene = random_scene([6, 3], size=64)
    scene = tensors(scene, lambda t: t.to(dtype) if t.is_floating_point() else t.int())
    for t in scene[:6]:
        t.requires_grad_()
    assignment = simota(*scene)
    explanation = explain(assignment._replace(matched_iou=assignment.matched_iou.requires_grad_()), *scene)
    for gt in explanation.gts:
        assert gt.k == gt.positives - gt.unasked + sum(gt.lost.values()) > 0 and not gt.anchors.requires_grad
    assert explanation.levels == (8, 16, 32) and not explanation.anchor_points.requires_grad


def test_the_dtype_of_the_arithmetic_decides_who_is_in_the_region():
    """The anchors at x = 12 are 12 pixels from the centre, which is 1.5 strides, but for what float32 rounds away."""
    scene = one_gt([20.0, 20, 24, 24])
    scene = scene._replace(gt_boxes=torch.tensor([[[24 - 1e-9, 20.0, 24, 24]]], dtype=torch.float64))
    counts = []
    for dtype in (torch.float32, torch.float64):
        same = scene._replace(pred_boxes=scene.pred_boxes.to(dtype))
        counts += [gt.region for gt in explain(simota(*same), *same).gts]
    assert counts[1] == counts[0] + 3


@pytest.mark.parametrize("shape", [(0, 84, 3, 2), (2, 0, 3, 2), (2, 84, 0, 2), (2, 84, 0, 0), (2, 84, 3, 0)])
def test_empty_dimensions(shape):
    B, N, G, C = shape
    points, strides = (t[:N] for t in anchor_grid(64, 64))
    boxes, labels = torch.full((B, G, 4), 20.0), torch.zeros(B, G, dtype=torch.uint8)
    scene = Scene(torch.full((B, N, 4), 20.0), torch.rand(B, N, C), None, points, strides, boxes, labels, None)
    explanation = explain(given(scene, {}), *scene)
    assert len(explanation.images) == B and len(explanation.gts) == B * G
    assert all(gt.reason and gt.positives == 0 for gt in explanation.gts)
    assert str(explanation).count("image ") == 1 + B  # in the head, too


def test_padding_and_other_images_change_nothing():
    scene = random_scene([7, 3], size=64, pad=3)
    scene.gt_boxes[1, 3:] = math.nan
    scene.gt_labels[1, 3:] = -7
    assignment = simota(*scene)
    before = [t.clone() for t in (*scene, *assignment)]
    together = explain(assignment, *scene)
    assert_close(before, [*scene, *assignment], rtol=0, atol=0, equal_nan=True)
    alone = scene._replace(gt_boxes=scene.gt_boxes[:, :3], gt_labels=scene.gt_labels[:, :3], num_gts=None)
    alone = Scene(*(t if t is None or len(t) != 2 else t[1:] for t in alone))
    expected = explain(Assignment(*(t[1:] for t in assignment)), *alone)
    assert len(expected.gts) == 3 and expected.images[0].conflicts == together.images[1].conflicts
    for one, other in zip(expected.gts, together.images[1].gts, strict=True):
        assert torch.equal(one.anchors, other.anchors)
        assert one._replace(image=1, anchors=0) == other._replace(anchors=0)


def test_matrices_of_one_image_at_a_time(monkeypatch):
    sizes = []

    def watched(*args, **rule):
        matrices = simota_cost(*args, **rule)
        sizes.append(matrices.cost.numel())
        return matrices

    monkeypatch.setattr("yolox_ops.explanation.explain.simota_cost", watched)
    scene = random_scene([5, 2, 3], size=64, pad=40)
    explain(simota(*scene), *scene)
    assert sorted(sizes) == [84 * n for n in (2, 2, 3, 3, 5, 5)]


@pytest.mark.parametrize("strides", [(16,), (4, 8, 16, 32, 64)])
def test_any_levels(strides):
    scene = random_scene([4], size=64)
    points, steps = anchor_grid(64, 64, strides)
    N = len(steps)
    pred = torch.cat([points, steps[:, None].expand(N, 2) * 4], -1)[None]
    scene = scene._replace(pred_boxes=pred, cls_logits=torch.zeros(1, N, 5), obj_logits=None)
    scene = scene._replace(anchor_points=points, strides=steps)
    explanation = explain(simota(*scene), *scene)
    assert explanation.levels == strides
    assert all(sum(gt.per_level) == gt.positives and len(gt.per_level) == len(strides) for gt in explanation.gts)
    figure = explanation.draw(torch.zeros(1, 3, 64, 64))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        f"positive anchor, stride {stride}" for stride in strides
    ]
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().y0 > figure.axes[0].get_window_extent().y1


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_tensors_on_a_gpu():
    scene = random_scene([6, 0, 3], size=64)
    there = tensors(scene, lambda t: t.cuda())
    assignment = simota(*there)
    explanation = explain(assignment, *there)
    assert str(explanation) == str(explain(Assignment(*(t.cpu() for t in assignment)), *scene))
    assert len(explanation.draw(torch.rand(3, 3, 64, 64).cuda()).axes) == 3
