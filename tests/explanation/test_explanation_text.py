"""explain in words: reasons, the table, errors, and the page docs/explain.md."""

from pathlib import Path

import pytest
import torch
from matching import one_gt
from matplotlib.image import imread
from scenes import random_scene
from wrong_scene import crossed, given

from benchmarks.peers.megvii import deprecated_autocast, megvii_model
from yolox_ops import PRESETS, Assignment, explain, simota, yolox_loss
from yolox_ops.yolox import Targets


def test_likely_mistakes_are_pointed_out():
    scene = random_scene([3], size=64, pad=0)
    other = simota(*scene, **PRESETS["yolox-0.3"])
    assert "are they in [0, 1]?" not in str(explain(simota(*scene), *scene))
    assert "of another rule" not in str(explain(simota(*scene), *scene))
    assert str(explain(other, *scene)).endswith("the assignment is of another rule, or of other num_gts")
    small = scene._replace(gt_boxes=scene.gt_boxes / 96)
    assert str(explain(simota(*small), *small)).endswith("no box is larger than 1 x 1 pixels: are they in [0, 1]?")


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


def test_an_assignment_of_any_origin_is_explained():
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


def test_arguments_that_do_not_fit_are_refused():
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


def test_the_page_runs_and_prints_what_it_shows(capsys, tmp_path, monkeypatch):
    """docs/explain.md: the example, a step of a training loop, and Megvii's tensors."""
    parts = (Path(__file__).parents[2] / "docs/explain.md").read_text().split("```")
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
