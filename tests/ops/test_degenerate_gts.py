"""Ground truths of no, negative, tiny and huge size, which overlap nothing or nearly so, and such as are not finite,
which are refused or absent."""

import itertools
import math

import pytest
import torch
import transport
from impls import COMPILING, device_kernels, implementations
from matching import RULES, check_against_reference
from scenes import random_scene, take_image
from torch.testing import assert_close

import yolox_ops
from python_ref.simota_cost import simota_cost as reference_cost
from yolox_ops import simota_cost, yolox_loss
from yolox_ops.yolox.assigners import ASSIGNERS, center, multi_positive

SIZES = [0.0, -0.0, -1e-45, 1e-45, -5.0, -1e18, 1e18, 24.0]
BAD = [math.nan, math.inf, -math.inf]
each_rule = pytest.mark.parametrize("rule", RULES[:1] if COMPILING else RULES[:3])
FIXED = pytest.mark.parametrize("assign", [center, multi_positive])


def degenerate_scene(dtype=torch.float32):
    """Every size twice by every other, and predictions of those sizes among others."""
    sizes = torch.tensor(list(itertools.product(SIZES, repeat=2)))
    scene = random_scene([len(sizes), 3], size=64, seed=7, pad=0)
    scene.gt_boxes[0, :, 2:] = sizes
    scene.gt_boxes[0, ::5, :2] = scene.anchor_points[3]  # right on an anchor
    scene.pred_boxes[0, ::3] = scene.gt_boxes[0, torch.arange(len(scene.strides[::3])) % len(sizes)]
    return scene._replace(
        pred_boxes=scene.pred_boxes.to(dtype), gt_boxes=scene.gt_boxes.to(dtype), num_gts=torch.tensor([len(sizes), 3])
    )


@each_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("run", implementations("simota"))
def test_simota_is_the_reference(run, rule, dtype):
    scene = degenerate_scene(dtype)
    found = run(*scene, **rule)
    check_against_reference(found, scene, **rule)
    sizes = scene.gt_boxes[0, found.matched_gt[0].clamp(min=0), 2:]
    overlapping = found.matched_iou[0] > 0
    assert (sizes[overlapping] > 0).all() and overlapping.any()


@each_rule
@pytest.mark.parametrize("run", implementations("simota_cost"))
def test_simota_cost_is_the_reference(run, rule):
    scene = degenerate_scene()
    rule = {name: value for name, value in rule.items() if name not in ("topk", "k_rounding")}
    cost, iou = run(*scene, **rule)
    for b, count in enumerate(scene.num_gts.tolist()):
        wanted = [torch.tensor(m, dtype=torch.float64) for m in reference_cost(*take_image(scene, b), **rule)]
        assert_close(cost[b, :count], wanted[0], rtol=1e-6, atol=1e-4)
        assert_close(iou[b, :count].double(), wanted[1], rtol=1e-5, atol=1e-6)
    assert not (iou[0][(scene.gt_boxes[0, :, 2:] <= 0).any(-1)] != 0).any()


@pytest.mark.parametrize("run", implementations("ota"))
def test_ota_is_the_reference(run):
    scene = degenerate_scene()
    some = torch.arange(0, scene.gt_boxes.shape[1], 3)[:12]
    scene = scene._replace(
        gt_boxes=scene.gt_boxes[:1, some],
        gt_labels=scene.gt_labels[:1, some],
        num_gts=None,
        **{name: getattr(scene, name)[:1] for name in ("pred_boxes", "cls_logits", "obj_logits")},
    )
    transport.check_against_reference(transport.by_scene(run)(scene), scene)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("name", ["simota", "ota", "simota_cost", "yolox_loss"])
def test_what_is_not_finite_is_refused_by_its_row(name, column, value):
    run = {"simota_cost": simota_cost, "yolox_loss": yolox_loss, **ASSIGNERS}[name]
    scene = random_scene([2, 3], size=32)
    scene.gt_boxes[0, 2, column] = value  # padding
    run(*scene)
    scene.gt_boxes[1, 2, column] = value
    words = "not be NaN, got NaN" if math.isnan(value) else "be finite, got inf"
    with pytest.raises(ValueError, match=f"^gt_boxes must {words} at image 1, row 2$"):
        run(*scene)


def too_large(dtype=torch.float32):
    """1e300 in float64, and a prediction's dtype, in which the arithmetic is."""
    scene = random_scene([2, 3], size=32)
    scene = scene._replace(gt_boxes=scene.gt_boxes.double(), pred_boxes=scene.pred_boxes.to(dtype))
    scene.gt_boxes[1, 1, 2] = 1e300
    return scene


def test_a_number_counts_as_it_is_read():
    with pytest.raises(ValueError, match="gt_boxes must be finite, got inf at image 1, row 1"):
        yolox_ops.simota(*too_large())
    found = yolox_ops.simota(*too_large(torch.float64))
    check_against_reference(found, too_large(torch.float64))


@pytest.mark.parametrize("kernel", device_kernels())
@each_rule
def test_devices_pass_over_what_is_not_finite(kernel, rule):
    rule = {"topk": 10, "k_rounding": "down", **rule}
    cost = ("center_radius", "candidates", "outside_penalty", "cls_weight", "iou_weight", "iou_eps")
    defaults = dict(zip(cost, (1.5, "center", 1e6, 1.0, 3.0, 1e-8), strict=True))
    values = [rule.get(name, defaults.get(name)) for name in cost]
    scene = random_scene([6, 6], size=32, pad=0, seed=1)._replace(num_gts=None)
    nan = scene._replace(gt_boxes=scene.gt_boxes.clone())
    inf = scene._replace(gt_boxes=scene.gt_boxes.double())
    nan.gt_boxes[0, :5] = math.nan
    for column, value in enumerate((math.inf, -math.inf, math.inf, -math.inf)):
        inf.gt_boxes[0, column, column] = value
    inf.gt_boxes[0, 4, 3] = -1e300
    for op, more in (("simota_cost", ()), ("simota", (rule["topk"], rule["k_rounding"]))):
        assert_close(kernel(op)(*inf, *values, *more), kernel(op)(*nan, *values, *more), rtol=0, atol=0)
    ota = (2.5, 20, 1.5, 0.1, 50, 0.0, 0.25, 2.0)
    assert_close(kernel("ota")(*inf, *ota), kernel("ota")(*nan, *ota), rtol=0, atol=0)


@FIXED
def test_fixed_rules_pass_over_what_is_not_finite(assign):
    for column, value in itertools.product(range(4), BAD):
        scene = random_scene([2, 3], size=32)
        gone = scene._replace(gt_boxes=scene.gt_boxes.clone())
        scene.gt_boxes[1, 1, column], gone.gt_boxes[1, 1] = value, math.nan
        assert_close(assign(*scene), assign(*gone), rtol=0, atol=0)
        assert (assign(*scene).matched_gt[1] == 0).any()


@FIXED
def test_fixed_rules_give_an_object_of_no_size_its_cell(assign):
    scene = random_scene([1], size=32, pad=0)
    for w, h in itertools.product([0.0, -0.0, -1e-45, -3.0, 1e-45, -1e18], repeat=2):
        scene.gt_boxes[0, 0] = torch.tensor([12.0, 12.0, w, h])
        found = assign(*scene)
        assert found.num_fg == (1 if assign is center else 9) and (scene.strides[found.fg_mask[0]] == 8).all()
        assert (found.matched_iou == 0).all()


def test_a_negative_area_is_none():
    """Of three in one cell the two of no area come first, by their rows."""
    scene = random_scene([3], size=32, pad=0)
    scene.gt_boxes[0, :, :2] = 12.0
    for first, second in (((-2.0, -3.0), (4.0, 0.0)), ((0.0, 5.0), (-9.0, 3.0)), ((-1.0, 9.0), (-9.0, -9.0))):
        scene.gt_boxes[0, :, 2:] = torch.tensor([[1.0, 1.0], first, second])
        assert set(center(*scene).matched_gt[0].tolist()) == {-1, 1}


@pytest.mark.plain
@pytest.mark.parametrize("name", ASSIGNERS)
@pytest.mark.parametrize("box_loss", ["iou", "giou"])
@pytest.mark.parametrize("size", [(0.0, 0.0), (-0.0, 8.0), (-24.0, -24.0), (24.0, -6.0), (1e-45, 9.0), (1e18, 1e18)])
def test_the_loss_is_finite(size, box_loss, name):
    """And that of the size 0, where it is below."""
    losses = []
    for w, h in (size, [max(side, 0.0) for side in size]):
        scene = random_scene([1, 3], size=32, seed=2)
        scene.gt_boxes[0, 0] = torch.tensor([12.0, 12.0, w, h])
        head = [t.clone().requires_grad_() for t in (*scene[:3], torch.randn_like(scene.pred_boxes))]
        head[3].data.copy_(torch.linspace(-1, 1, head[3].numel()).view_as(head[3]))
        options = {"box_loss": box_loss, "objectness": "iou", "assigner": ASSIGNERS[name]}
        loss = yolox_loss(*head[:3], *scene[3:], raw_boxes=head[3], **options)
        loss.total.backward()
        assert all(torch.isfinite(term).all() for term in loss[:5]), loss
        assert all(t.grad.isfinite().all() for t in head)
        assert loss.num_fg[0] > 0
        losses.append((*loss, *(t.grad for t in head)))
    assert_close(*losses, rtol=0, atol=0)


@pytest.mark.plain
def test_explain_says_why_a_box_is_absent():
    scene = random_scene([4], size=32, pad=0)
    nothing = yolox_ops.simota(*scene._replace(num_gts=torch.tensor([0])))
    scene = scene._replace(gt_boxes=scene.gt_boxes.double())
    scene.gt_boxes[0, 0, 0], scene.gt_boxes[0, 1, 2], scene.gt_boxes[0, 2, 3] = math.nan, -math.inf, 1e300
    found = yolox_ops.explain(nothing, *scene)
    infinite = "its box holds an infinite number"
    assert [gt.reason for gt in found.gts[:3]] == ["its box holds a NaN", infinite, infinite]
    assert [gt.k for gt in found.gts[:3]] == [0, 0, 0] and found.gts[3].k > 0
    assert "infinite" in str(found)
