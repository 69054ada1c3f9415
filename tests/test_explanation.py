"""What explain says of an assignment: against numbers made by hand, against python_ref, and against the assignment."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from matching import RULES, one_gt, tensors
from matplotlib.image import imread
from scenes import Scene, golden_scene, random_scene
from torch.testing import assert_close

from benchmarks.peers import deprecated_autocast, megvii_model
from python_ref.dynamic_k_match import cheapest, dynamic_k
from python_ref.exactness import possible_picks
from python_ref.simota_cost import geometry
from python_ref.simota_cost import simota_cost as reference_cost
from yolox_ops import PRESETS, Assignment, SimOTACost, dynamic_k_match, explain, simota, simota_cost, yolox_loss
from yolox_ops._picture import spread
from yolox_ops.yolox import Targets, anchor_grid


def explained_matrices(monkeypatch, cost, iou):
    """explain of one image whose costs and IoUs are these [G, N]; every anchor is a candidate of every ground truth."""
    matrices = SimOTACost(torch.tensor([cost], dtype=torch.float64), torch.tensor([iou]))
    G, N = matrices.cost.shape[1:]

    def made_up(pred_boxes, *rest, **rule):
        return matrices if len(pred_boxes) == 1 else simota_cost(pred_boxes, *rest, **rule)

    monkeypatch.setattr("yolox_ops._explain.simota_cost", made_up)
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


def test_golden_steal(monkeypatch):
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
        args = scene.image(b)
        points, strides, boxes = args[3:6]
        assert len(image.gts) == len(boxes) == scene.num_gts[b]
        takers = [0] * len(points)
        for gt in image.gts:
            near = [geometry(point, s, boxes[gt.row], *geometric)[1] for point, s in zip(points, strides, strict=True)]
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
            asked = set(cheapest(cost_row, dynamic_k(iou_row, topk, k_rounding)))
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


def test_a_picture_has_a_format(tmp_path):
    scene = random_scene([1], size=64)
    with pytest.raises(ValueError, match=r"path must end in a picture's format, as .png, got '.*anchors'"):
        explain(simota(*scene), *scene).draw(torch.rand(1, 3, 64, 64), tmp_path / "anchors")


def test_what_looks_like_a_mistake_is_said():
    scene = random_scene([3], size=64, pad=0)
    other = simota(*scene, **PRESETS["yolox-0.3"])
    assert "are they in [0, 1]?" not in str(explain(simota(*scene), *scene))
    assert "of another rule" not in str(explain(simota(*scene), *scene))
    assert str(explain(other, *scene)).endswith("the assignment is of another rule, or of other num_gts")
    small = scene._replace(gt_boxes=scene.gt_boxes / 96)
    assert str(explain(simota(*small), *small)).endswith("no box is larger than 1 x 1 pixels: are they in [0, 1]?")


def crossed():
    """Two images of 64 x 64. In the first, ground truths 0 and 1 are one box twice; 2 lies outside; 3 has a label that
    is none; 4 a NaN. The second has only padding. Every anchor predicts the first box, with equal logits."""
    scene = one_gt([20.0, 20, 24, 24])
    boxes = torch.tensor([[20.0, 20, 24, 24], [20, 20, 24, 24], [900, 20, 8, 8], [40, 40, 9, 9], [math.nan, 9, 9, 9]])
    return scene._replace(
        pred_boxes=scene.pred_boxes.repeat(2, 1, 1),
        cls_logits=torch.zeros(2, 84, 2),
        obj_logits=torch.zeros(2, 84),
        gt_boxes=boxes.repeat(2, 1, 1),
        gt_labels=torch.tensor([[0, 0, 1, 2, 0]] * 2),
        num_gts=torch.tensor([5, 0]),
    )


def given(scene, rows):
    """The assignment {anchor: row} of image 0, as anybody might make it."""
    matched_gt = torch.full(scene.pred_boxes.shape[:2], -1)
    for anchor, row in rows.items():
        matched_gt[0, anchor] = row
    return Assignment(matched_gt, torch.where(matched_gt >= 0, 0.5, 0.0), (matched_gt >= 0).sum(1))


@pytest.mark.parametrize("no_label", [-1, 2])
def test_why_a_gt_has_no_anchors(no_label):
    scene = crossed()
    scene.gt_labels[0, 3] = no_label
    real = scene._replace(gt_labels=scene.gt_labels.clamp(0, 1), gt_boxes=scene.gt_boxes.nan_to_num(-900))
    explanation = explain(simota(*real), *scene)
    first, twin, outside, label, nan = explanation.gts
    assert first.k == twin.k == 10 and first.positives == 10 and first.reason == ""
    assert twin.reason == "it lost all that it asked for, 10 to gt 0" and twin.lost == {0: 10}
    assert outside.region == 0 and outside.reason == (
        "no anchor in its region: its centre (900, 20) lies outside of the anchors' area, x 0 to 64, y 0 to 64; "
        "it lost all that it asked for, 1 to gt 0"
    )
    assert (label.k, label.positives, label.unasked) == (0, 1, 1)  # simota was told of a label that there is
    assert (nan.k, nan.region) == (0, 0)
    label, nan = explain(given(scene, {0: 0}), *scene).gts[3:]
    assert label.reason == f"its label {no_label} is not in [0, 2)" and nan.reason == "its box holds a NaN"


def test_why_a_gt_between_the_anchors_has_none():
    scene = one_gt([32.0, 32, 9, 9])
    rule = {"center_radius": 0.4}  # the nearest centre is half a stride away
    (gt,) = explain(simota(*scene, **rule), *scene, **rule).gts
    assert (gt.k, gt.region) == (0, 0)
    assert (
        gt.reason
        == "no anchor in its region, though its centre (32, 32) lies in the anchors' area, x 0 to 64, y 0 to 64"
    )
    empty = scene._replace(**{name: getattr(scene, name)[:, :0] for name in ("pred_boxes", "cls_logits", "obj_logits")})
    empty = empty._replace(anchor_points=scene.anchor_points[:0], strides=scene.strides[:0])
    explanation = explain(simota(*empty), *empty)
    assert explanation.gts[0].reason == "there are no anchors" and explanation.levels == ()


def test_why_a_gt_asks_for_nothing():
    scene = one_gt([20.0, 20, 24, 24])
    scene = scene._replace(pred_boxes=scene.pred_boxes + 500)
    assert explain(simota(*scene), *scene).gts[0].k == 1
    (gt,) = explain(simota(*scene, k_rounding="nearest"), *scene, k_rounding="nearest").gts
    assert (gt.k, gt.region) == (0, 22) and gt.reason == "k is 0, for its IoUs with the predictions are too small"


def test_an_assignment_from_elsewhere():
    """Read as it is: here most of what was asked for is background, and one anchor lies far away."""
    scene = crossed()
    explanation = explain(given(scene, {9: 0, 10: 1, 63: 1}), *scene)
    first, twin = explanation.gts[:2]
    assert first.k == twin.k == 10 and explanation.images[0].conflicts == 10
    assert (first.anchors.tolist(), first.unasked, first.lost) == ([9], 0, {-1: 8, 1: 1})
    assert (twin.anchors.tolist(), twin.unasked, twin.lost) == ([10, 63], 1, {-1: 8, 0: 1})
    assert twin.mean_iou == 0.5 and twin.per_level == (2, 0, 0)
    assert "8 to background, 1 to gt 1" in str(explanation)


def test_as_text():
    scene = crossed()
    lines = str(explain(given(scene, {9: 0, 70: 0, 10: 1}), *scene)).splitlines()
    assert len({len(line) for line in lines[:6]}) == 1
    cells = [" ".join(line.split()) for line in lines[:4]]
    assert cells == [
        "image gt label box region k positives stride 8 stride 16 stride 32 mean IoU unasked lost",
        "0 0 0 24.0 x 24.0 22 10 2 1 1 0 0.500 1 8 to background, 1 to gt 1",
        "0 1 0 24.0 x 24.0 22 10 1 1 0 0 0.500 0 8 to background, 1 to gt 0",
        "0 2 1 8.0 x 8.0 0 1 0 0 0 0 - 0 1 to gt 0",
    ]
    assert lines[6].startswith("region: ") and lines[7] == ""
    sums = "gts 5, anchors asked for 21, positives 3 of 84, conflicts 10, gts without anchors 3"
    assert lines[8] == f"image 0: {sums}"
    assert [line.split(":")[0] for line in lines[9:12]] == [f"  gt {g} has none" for g in (2, 3, 4)]
    assert lines[12:] == [
        "image 1: no ground truths, all 84 anchors are background",
        f"batch: {sums.replace('84', '168')}",
        "lost to background: the assignment is of another rule, or of other num_gts",
    ]


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

    monkeypatch.setattr("yolox_ops._explain.simota_cost", watched)
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


def test_what_does_not_fit_is_an_error():
    scene = crossed()
    right = given(scene, {9: 0})

    def wrong(error, words, *, assignment=right, rule=None, **changed):
        with pytest.raises(error, match=words):
            explain(assignment, *scene._replace(**changed), **(rule or {}))

    wrong(TypeError, "assignment must be a yolox_ops.Assignment, got Tensor", assignment=scene.pred_boxes)
    short = Assignment(*(t[..., :1] for t in right))
    wrong(ValueError, r"matched_gt must be \[B, N\] with N = 84, got \[2, 1\]", assignment=short)
    wrong(TypeError, "matched_gt must be an integer", assignment=right._replace(matched_gt=right.matched_iou))
    wrong(ValueError, r"matched_iou must be \[B, N\]", assignment=right._replace(matched_iou=torch.zeros(2, 7)))
    wrong(TypeError, "matched_iou must be float32", assignment=right._replace(matched_iou=right.matched_gt))
    wrong(ValueError, r"num_fg must be \[B\] with B = 2, got \[1\]", assignment=right._replace(num_fg=right.num_fg[:1]))
    wrong(TypeError, "num_fg must be an integer", assignment=right._replace(num_fg=torch.ones(2)))
    miscounted = right._replace(num_fg=torch.tensor([1, 3]))
    wrong(ValueError, "num_fg must count the positives, 0, got 3 at image 1", assignment=miscounted)
    for row in (5, -2):
        words = rf"matched_gt must be in \[-1, 5\), got {row} at image 0, anchor 9"
        wrong(ValueError, words, assignment=given(scene, {9: row}))
    for count in (6, -1):
        words = rf"num_gts must be in \[0, 5\], got {count} at image 1"
        wrong(ValueError, words, num_gts=torch.tensor([5, count]))
    wrong(ValueError, r"gt_boxes must be \[B, G, 4\]", gt_boxes=scene.gt_boxes[..., :2])
    wrong(ValueError, "topk must be at least 1, got 0", rule={"topk": 0})
    wrong(ValueError, "center_radius must be positive", rule={"center_radius": 0})
    wrong(TypeError, "unexpected keyword argument 'radius'", rule={"radius": 2})


def test_picture(tmp_path):
    """What is drawn stands where it lies in the image, and colours are not swapped."""
    scene = crossed()
    explanation = explain(given(scene, {9: 0, 10: 0, 70: 1}), *scene)
    blue = torch.zeros(2, 3, 64, 128, dtype=torch.uint8)
    blue[:, 0] = 255
    figure = explanation.draw(blue, tmp_path / "new" / "a.png", class_names=["cat", "dog"], which=[0])
    width, height = figure.get_size_inches()
    (axes,) = figure.axes
    drawn = torch.cat([torch.tensor(c.get_offsets().data) for c in axes.collections]).float()
    assert torch.equal(drawn, scene.anchor_points[[9, 10, 70]])
    texts = [text.get_text() for text in axes.texts]  # the left ones from above, then the right ones
    assert texts == [
        "cat: 2 of k = 10\nIoU 0.50",
        "cat: 1 of k = 10\nIoU 0.50",
        "class 2: 0 of k = 0",
        "dog: 0 of k = 1",
    ]
    picture = torch.tensor(imread(tmp_path / "new" / "a.png"))
    is_blue = (picture[..., :3] == torch.tensor([0.0, 0, 1])).all(-1)
    image_height, image_width = (int(is_blue.any(dim).sum()) for dim in (1, 0))
    assert image_width == pytest.approx(2 * image_height, rel=0.01) and image_width > 600
    assert picture.shape[:2] == (int(height * 110), int(width * 110))
    figure = explanation.draw(blue)
    assert [text.get_text() for text in figure.axes[1].texts] == ["no ground truths:\nall 84 anchors are background"]
    assert len(figure.axes) == 2


def test_images_are_bytes_or_floats():
    scene = random_scene([2] * 9, size=32)
    explanation = explain(simota(*scene), *scene)
    images = torch.randint(0, 256, (9, 3, 32, 32), dtype=torch.uint8)
    darker = (images.float() - 0.4).clamp(min=0)  # which rounding takes back
    drawn = [
        [axes.images[0].get_array().data for axes in explanation.draw(same).axes]
        for same in (
            images,
            images.float(),
            darker,
            images.half().requires_grad_(),
            images / 255,
            images.double() / 255,
        )
    ]
    assert len(drawn[0]) == 8  # no more, unless asked for
    assert all((a == b).all() for other in drawn[1:] for a, b in zip(drawn[0], other, strict=True))
    assert (drawn[0][3] == images[3].permute(1, 2, 0).flip(-1).numpy()).all()
    (axes,) = explanation.draw(images, which=[8]).axes
    assert (axes.images[0].get_array().data == images[8].permute(1, 2, 0).flip(-1).numpy()).all()


@pytest.mark.parametrize(
    ("images", "which", "error", "words"),
    [
        (torch.zeros(2, 3, 8), None, ValueError, r"images must be \[B, 3, H, W\], got \[2, 3, 8\]"),
        (torch.zeros(3, 3, 8, 8), None, ValueError, r"images must be \[B, 3, H, W\] with B = 2, got"),
        (torch.zeros(2, 3, 8, 8).int(), None, TypeError, "images that are not uint8 must be float32"),
        (torch.full((2, 3, 8, 8), 2.5).sub(4), None, ValueError, r"images must be in 0\.\.255, .*, got -1\.5 to -1\.5"),
        (torch.full((2, 3, 8, 8), math.nan), None, ValueError, "got nan to nan"),
        (torch.zeros(2, 3, 8, 8), [2], ValueError, r"which must name one or more images in \[0, 2\), got \[2\]"),
        (torch.zeros(2, 3, 8, 8), [], ValueError, r"which must name one or more images in \[0, 2\), got \[\]"),
        ("photo.png", None, TypeError, r"images must be a torch\.Tensor, got str"),
    ],
)
def test_images_that_do_not_fit(images, which, error, words):
    scene = crossed()
    with pytest.raises(error, match=words):
        explain(given(scene, {}), *scene).draw(images, which=which)


def test_labels_keep_apart():
    levels = spread([5.0, 6.0, 50.0, 99.0, 99.0], gap=10, low=10, high=90)
    assert levels == [10, 20, 50, 80, 90]


def test_images_stand_apart():
    scene = random_scene([1] * 8, size=32)
    figure = explain(simota(*scene), *scene).draw(torch.zeros(8, 3, 32, 32))
    places = [axes.get_position() for axes in figure.axes]
    assert places[-1].y0 >= 0 and places[0].y1 < 1
    for i, place in enumerate(places):
        left, above = (i % 2) * 0.5, (places[i - 2].y0 if i > 1 else 1)
        assert place.x0 == left and place.y1 < above


def test_labels_of_a_crowd_stay_beside_the_image():
    scene = random_scene([60], size=64)
    figure = explain(simota(*scene), *scene).draw(torch.zeros(1, 3, 64, 64))
    levels = [text.get_position()[1] for text in figure.axes[0].texts]
    assert len(levels) == 60 and min(levels) > 0 and max(levels) < 64


def test_only_drawing_needs_matplotlib():
    """In a process of its own, for what is imported once stays."""
    code = """
import sys; sys.modules["matplotlib"] = None
import torch, yolox_ops
scene = torch.zeros(1, 4, 4), torch.zeros(1, 4, 1), None, torch.ones(4, 2), torch.ones(4), torch.ones(1, 1, 4)
scene = (*scene, torch.zeros(1, 1, dtype=torch.int64))
explanation = yolox_ops.explain(yolox_ops.simota(*scene), *scene)
print(isinstance(explanation, yolox_ops.Explanation), str(explanation).count("image "))
explanation.draw(torch.zeros(1, 3, 8, 8))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "True 2\n"
    last = ended.stderr.splitlines()[-1]
    assert last == "ModuleNotFoundError: drawing needs matplotlib: pip install '.[train]' in the yolox_ops checkout"


def test_the_page_runs_and_prints_what_it_shows(capsys, tmp_path, monkeypatch):
    """docs/explain.md: the example, a step of a training loop, and Megvii's tensors."""
    parts = (Path(__file__).parent.parent / "docs/explain.md").read_text().split("```")
    example, printed, loop, megvii = parts[1::2]
    names: dict = {}
    exec(example.removeprefix("python\n"), names)
    assert capsys.readouterr().out == printed.removeprefix("\n")

    monkeypatch.chdir(tmp_path)

    def model(images, targets, **options):
        return yolox_loss(*names["scene"][:5], *targets, **options)

    batch = {"images": torch.rand(2, 3, 160, 160), "targets": Targets(*names["scene"][5:])}
    exec(loop.removeprefix("python\n"), {"model": model, "step": 500, **batch})
    assert capsys.readouterr().out == printed.removeprefix("\n")
    assert imread(tmp_path / "anchors/500.png").std() > 0.1

    _, _, _, _, _, boxes, labels, num_gts = names["scene"]
    rows = torch.cat([labels[..., None], boxes], -1) * (torch.arange(6) < num_gts[:, None])[..., None]
    with deprecated_autocast():
        exec(megvii.removeprefix("python\n"), {"model": megvii_model("yolox_nano", 3), "labels": rows, **batch})
    header, *_, sums = capsys.readouterr().out.splitlines()
    assert header == printed.splitlines()[1] and sums.startswith("batch: gts 6, ")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_tensors_on_a_gpu():
    scene = random_scene([6, 0, 3], size=64)
    there = tensors(scene, lambda t: t.cuda())
    assignment = simota(*there)
    explanation = explain(assignment, *there)
    assert str(explanation) == str(explain(Assignment(*(t.cpu() for t in assignment)), *scene))
    assert len(explanation.draw(torch.rand(3, 3, 64, 64).cuda()).axes) == 3
