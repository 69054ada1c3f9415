"""yolox_ops.integrations.mmdet inside the real mmdet, mmengine and mmcv-lite. The long run of the comparison is
benchmarks/parity/mmdet.py; test_mmdet_training.py trains."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmdet_results import MODULE, NAME, assert_same, both, cast, rows

import yolox_ops
from benchmarks.parity.mmdet import OURS, SPACING, THEIRS, compare, image, random_image
from benchmarks.peers.mmdet import (
    TASK_UTILS,
    InstanceData,
    old_spellings,
)
from python_ref.exactness import check_matching
from yolox_ops import simota_cost


def costs_of(pred, gts, monkeypatch, **config):
    """[g, n], what each pair costs the assigner: simota_cost of what it hands simota."""
    given = []

    def keep(*args, topk, **rule):
        given.append(simota_cost(*args, **rule))
        return yolox_ops.simota(*args, topk=topk, **rule)

    monkeypatch.setattr(sys.modules[MODULE], "simota", keep)
    TASK_UTILS.build({"type": NAME, **config}).assign(pred, gts)
    return given[0].cost[0]


def test_forty_random_images():
    found = [compare(*random_image(seed)) for seed in range(40)]
    assert sum(f.positives for f in found) > 3000
    assert sum(f.different for f in found) <= 3


def test_float32_rounds_mmdets_penalised_costs():
    """The first image that differs: ours is the float64 reference's answer, mmdet's needs the spacing of 1/128."""
    found = compare(*random_image(457))
    assert (found.different, found.ours_allowed, found.theirs_allowed) == (2, 0, 2)


def test_only_penalised_costs_have_a_spacing():
    """Two priors within 1/128 of each other: the dearer one may win only where float32 rounds both."""
    iou = [[0.5, 0.5]]
    assert check_matching([-1, 0], [[1e5 + 1.0, 1e5 + 1.004]], iou, penalty=1e5, spacing=SPACING) == 2
    for penalty, spacing, most in ((0.0, SPACING, 1.004), (1e5, 0.0, 1.004), (1e5, SPACING, 1.009)):
        with pytest.raises(AssertionError, match=r"^anchor 0 went to -1, allowed \[0\]"):
            check_matching([-1, 0], [[penalty + 1.0, penalty + most]], iou, penalty=1e5, spacing=spacing)


@pytest.mark.parametrize(
    "config",
    [
        {"center_radius": 1.5},
        {"candidate_topk": 3},
        {"iou_weight": 1.0},
        {"cls_weight": 4.0},
        {"cls_weight": 2e4},  # costs of the size of the penalty
        {"iou_calculator": {"type": "mmdet.BboxOverlaps2D"}},
    ],
)
def test_every_key_of_the_config_means_what_it_means_to_mmdet(config):
    ours, theirs = both(*image(20, seed=3), **config)
    assert_same(ours, theirs)
    default, _ = both(*image(20, seed=3))
    assert torch.equal(ours.gt_inds, default.gt_inds) == ("iou_calculator" in config)


@pytest.mark.parametrize("calculator", [{"type": "BboxOverlaps2D", "dtype": "fp16"}, {"type": "BboxOverlaps2D_GLIP"}])
def test_another_iou_is_refused(calculator):
    with pytest.raises(ValueError, match=r"^iou_calculator must be dict\(type='BboxOverlaps2D'\), got "):
        TASK_UTILS.build({"type": NAME, "iou_calculator": calculator})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("priors", "gts"), [(84, 0), (0, 3), (0, 0)])
def test_nothing_to_assign(priors, gts, dtype):
    pred, real = image(3, size=64)
    pred = cast(rows(pred, slice(priors)), bboxes=dtype)
    ours, theirs = both(pred, rows(real, slice(gts)))
    assert_same(ours, theirs, exactly=True)
    assert ours.max_overlaps.dtype == dtype


def test_objects_out_of_reach():
    """Where no prior is a candidate max_overlaps is 0, not -100000."""
    pred, gts = image(3, size=64)
    far = InstanceData(bboxes=gts.bboxes + 1000, labels=gts.labels)
    ours, theirs = both(pred, far)
    assert_same(ours, theirs, exactly=True)
    assert not ours.max_overlaps.any()


def test_some_objects_out_of_reach():
    pred, gts = image(8, size=128, seed=1)
    gts.bboxes[::2] += 1000
    ours, theirs = both(pred, gts)
    assert_same(ours, theirs)
    assert (ours.gt_inds > 0).any() and (ours.max_overlaps == -100000).any()


def test_edges_and_centre_regions_that_run_through_priors(monkeypatch):
    """Boxes of two decimals as COCO's, which float32 rounds: an edge on a column or row of priors and the opposite one
    anywhere, or a centre 20 pixels, 2.5 strides, from them. Who is a candidate and who pays is mmdet's to the prior."""
    pred, _ = image(1, size=640)
    column = torch.tensor([620.0, 508.0, 316.0, 300.0]).double().repeat(100)[:, None].expand(-1, 2)
    size = torch.randint(1, 30000, (400, 2)).double() / 100
    kinds = [(column - size, column), (column, column + size), (column - 20 - size, column - 20 + size)]
    for boxes in torch.cat([torch.cat(kind, 1) for kind in kinds]).float().split(100):
        gts = InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.int64))
        cost = costs_of(pred, gts, monkeypatch).T
        candidate, unpenalised = THEIRS.get_in_gt_and_in_center_info(pred.priors, boxes)
        assert torch.equal(cost[:, 0] < torch.inf, candidate)
        assert torch.equal(cost[candidate] < 5e4, unpenalised)


def test_float16_scores():
    """They count as their values in float32; mmdet rounds their cost to float16, which moves few priors."""
    pred, gts = image(40, seed=2)
    half = cast(pred, scores=torch.float16)
    exact, wide = both(cast(half, scores=torch.float32), gts)
    ours, theirs = both(half, gts)
    assert_same(exact, wide)
    assert_same(ours, exact, exactly=True)
    assert (ours.gt_inds != theirs.gt_inds).sum() <= 5
    assert theirs.max_overlaps.dtype == ours.max_overlaps.dtype


def test_float16_boxes():
    """As under autocast. mmdet's areas are float16 then: a box of more than 65504 square pixels overlaps nothing."""
    pred, gts = image(20, size=256, seed=4)
    half = cast(pred, bboxes=torch.float16, scores=torch.float16, priors=torch.float16)
    ours, _ = both(half, gts)
    assert_same(ours, OURS.assign(cast(half, **dict.fromkeys(half.keys(), torch.float32)), gts), exactly=True)
    large = torch.tensor([[0.0, 0, 300, 300]])
    half.bboxes = large.half().repeat(len(half), 1)
    ours, theirs = both(half, InstanceData(bboxes=large, labels=torch.tensor([0])))
    assert ours.max_overlaps.max() == 1 and theirs.max_overlaps.max() == 0


def test_the_class_cost_of_a_score_is_mmdets(monkeypatch):
    """From 0 to 1 and the floats next to them, where the logit is infinite or large: binary_cross_entropy's sum."""
    small = torch.tensor([0, 1e-45, 1e-38, 1e-30, 1e-12, 1e-6, 0.1, 0.5])
    scores = torch.cat([small, 1 - torch.tensor([0.3, 1e-3, 1e-6, 2**-24, 0])]).repeat(3, 1).T
    scores[:, 1], scores[:, 2] = 0.25, scores[:, 0].flip(0)
    n = len(scores)
    square = torch.tensor([[4.0, 4, 12, 12]])
    pred = InstanceData(bboxes=square.repeat(n, 1), scores=scores, priors=torch.full((n, 4), 8.0))
    gts = InstanceData(bboxes=square.repeat(3, 1), labels=torch.arange(3))
    cost = costs_of(pred, gts, monkeypatch, iou_weight=0)
    bce = torch.nn.functional.binary_cross_entropy
    wanted = bce(scores.expand(3, n, 3), torch.eye(3)[:, None].expand(3, n, 3), reduction="none").sum(-1)
    torch.testing.assert_close(cost.float(), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("scores", 1.000001, r"^scores must be in \[0, 1\], got values from 0\.\d+ to 1\.000001$"),
        ("scores", -1e-30, r"^scores must be in \[0, 1\], got values from -1e-30 to 0\.\d+$"),
        ("scores", 100.0, r"^scores must be in \[0, 1\], got values from 0\.\d+ to 100$"),
        ("scores", 1.5, r"^scores must be in \[0, 1\], got values from 0\.\d+ to 1\.5$"),
        ("scores", -0.5, r"^scores must be in \[0, 1\], got values from -0\.5 to 0\.\d+$"),
        ("scores", torch.nan, r"^scores must be in \[0, 1\], got values from nan to nan$"),
        ("priors", 4.0, r"^priors must have one stride for x and y, got \[8\.0, 4\.0\] in row 7$"),
    ],
)
def test_values_that_mmdet_would_not_give(name, value, message):
    pred, gts = image(3, size=64)
    pred[name][7, -1] = value
    with pytest.raises(ValueError, match=message):
        OURS.assign(pred, gts)


def test_a_label_that_does_not_exist():
    pred, gts = image(3, size=64)
    gts.labels[1] = 80
    with pytest.raises(ValueError, match=r"^gt_labels must be in \[0, 80\), got 80 at image 0, row 1$"):
        OURS.assign(pred, gts)


def test_shapes_that_do_not_fit():
    pred, gts = image(3, size=64)
    batch = pred.bboxes[None], pred.scores[None], pred.priors
    with pytest.raises(ValueError, match=r"^priors must be \[n, 4\], got \[84, 2\]$"):
        OURS.assign_batch(*batch[:2], pred.priors[:, :2], [gts])
    with pytest.raises(ValueError, match=r"^batch_gt_instances must be one for each of 1 images, got 2$"):
        OURS.assign_batch(*batch, [gts, gts])


def a_batch():
    """Seven images of one size: full, empty, out of reach."""
    images = [image(gts, classes=7, size=128, seed=gts) for gts in (5, 12, 1, 3, 30, 2, 8)]
    gts = [real for _, real in images]
    gts[2] = rows(gts[2], slice(0))
    gts[5] = InstanceData(bboxes=gts[5].bboxes + 1000, labels=gts[5].labels)
    preds = [pred for pred, _ in images]
    return torch.stack([p.bboxes for p in preds]), torch.stack([p.scores for p in preds]), preds[0].priors, gts


def test_a_batch_is_its_images():
    bboxes, scores, priors, gts = a_batch()
    for b, result in enumerate(OURS.assign_batch(bboxes, scores, priors, gts)):
        pred = InstanceData(bboxes=bboxes[b], scores=scores[b], priors=priors)
        assert_same(result, OURS.assign(pred, gts[b]), exactly=True)
        with old_spellings():
            assert_same(result, THEIRS.assign(pred, gts[b]))


def test_a_batch_of_no_images():
    pred, _ = image(1, size=64)
    assert OURS.assign_batch(pred.bboxes[None][:0], pred.scores[None][:0], pred.priors, []) == []


def test_a_batch_is_one_call_of_simota(monkeypatch):
    calls = []
    module = sys.modules[MODULE]
    monkeypatch.setattr(module, "simota", lambda *args, **rule: calls.append(1) or yolox_ops.simota(*args, **rule))
    OURS.assign_batch(*a_batch())
    assert calls == [1]


def test_a_gpu_is_never_waited_for():
    """Of tensors without data nothing can be read back: mmdet's own assigner fails there."""
    bboxes, scores, priors, gts = a_batch()
    unreal = [InstanceData(bboxes=g.bboxes.to("meta"), labels=g.labels.to("meta")) for g in gts]
    results = OURS.assign_batch(bboxes.to("meta"), scores.to("meta"), priors.to("meta"), unreal)
    assert [(r.num_gts, r.gt_inds.shape) for r in results] == [(len(g), (336,)) for g in gts]
    pred = InstanceData(bboxes=bboxes[0].to("meta"), scores=scores[0].to("meta"), priors=priors.to("meta"))
    with pytest.raises(NotImplementedError, match="nonzero"):
        THEIRS.assign(pred, unreal[0])


def test_without_mmdet_the_import_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmdet.models.task_modules.assigners", None)
    path = Path(yolox_ops.__file__).parent / "integrations/mmdet.py"
    with pytest.raises(ImportError, match=r"^yolox_ops\.integrations\.mmdet needs the package mmdet, version 3: "):
        runpy.run_path(str(path))
