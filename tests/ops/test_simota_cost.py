import math

import pytest
import torch
from impls import COMPILING, DTYPES, check_compiles, check_registration, implementations, strided
from matching import tensors
from scenes import random_scene, take_image
from torch.testing import assert_close

from python_ref.simota_cost import simota_cost as reference
from yolox_ops import Scene, simota_cost

each_implementation = pytest.mark.parametrize("run", implementations("simota_cost"))
RULES = [
    {},
    {"center_radius": 2.5, "candidates": "box_or_center", "outside_penalty": 1e5, "iou_eps": 1e-7},
    {"cls_weight": 0.25, "iou_weight": 1.5, "outside_penalty": 3.0, "iou_eps": 1.0},
    {"iou_eps": 1e-30},
    {"candidates": "all", "center_radius": 20.0},
]


def check_against_reference(result, scene: Scene, tolerance: float = 1e-5, **rule) -> None:
    for b in range(len(scene.pred_boxes)):
        count = int(scene.num_gts[b])
        assert (result.cost[b, count:] == math.inf).all() and (result.iou[b, count:] == 0).all()
        if count:
            cost, iou = (torch.tensor(m, dtype=torch.float64) for m in reference(*take_image(scene, b), **rule))
            assert_close(result.cost[b, :count], cost, rtol=0, atol=tolerance * 10, equal_nan=True)
            below = result.cost[b, :count].clamp(max=1e4), cost.clamp(max=1e4)
            assert_close(*below, rtol=1e-6, atol=tolerance, equal_nan=True)
            assert_close(result.iou[b, :count].double(), iou, rtol=1e-6, atol=tolerance / 10)


@each_implementation
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("objectness", [True, False])
@pytest.mark.parametrize("classes", [5, 40] if COMPILING else [1, 5, 16, 40])
def test_equals_reference(run, rule, objectness, classes):
    scene = random_scene([3, 0, 9], classes=classes, size=96, seed=classes, objectness=objectness)
    result = run(*scene, **rule)
    assert result.cost.dtype == torch.float64 and result.iou.dtype == torch.float32
    check_against_reference(result, scene, **rule)


@each_implementation
def test_all_anchors_as_candidates_and_a_closed_circle(run):
    """Centres at 15, 20 and 20, 15 pixels from an anchor's: 25 pixels, which is just within. A NaN is nowhere."""
    scene = random_scene([2], seed=5, pad=0)
    scene.gt_boxes[0, 0, :2] = scene.anchor_points[40] + torch.tensor([15.0, 20])
    scene.gt_boxes[0, 1, :2] = scene.anchor_points[60] - torch.tensor([20.0, 15])
    scene.anchor_points[7, 1] = math.nan
    found = run(*scene, candidates="all", center_radius=25.0)
    check_against_reference(found, scene, candidates="all", center_radius=25.0)
    less = run(*scene, candidates="all", center_radius=24.99)
    for gt, anchor in enumerate((40, 60)):
        assert found.cost[0, gt, anchor] < 1e6 < less.cost[0, gt, anchor]
    there = torch.arange(len(scene.strides)) != 7
    assert torch.equal(found.cost[0].isfinite(), there.expand(2, -1))
    scene.gt_boxes[0, :, :2] = 1e6  # however far
    assert torch.equal(run(*scene, candidates="all").cost[0].isfinite(), there.expand(2, -1))


@each_implementation
def test_float64_is_exact_to_float64(run):
    scene = random_scene([6], classes=20, seed=1)
    scene = tensors(scene, lambda t: t.double() if t.is_floating_point() else t)
    result = run(*scene)
    assert result.iou.dtype == torch.float64
    check_against_reference(result, scene, tolerance=1e-9)


@each_implementation
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(run, dtype):
    scene = random_scene([4], seed=2)
    scene = tensors(scene, lambda t: t.to(dtype) if t.is_floating_point() else t.int())
    check_against_reference(run(*scene), scene)


@each_implementation
@pytest.mark.parametrize("classes", [1, 40] if COMPILING else [1, 7, 1030])
@pytest.mark.parametrize(
    "logit", [-math.inf, -1e30, -200.0, -60.0, -20.0, 0.0, 20.0, 60.0, 99.0, 200.0, 1e30, math.inf]
)
def test_every_logit_keeps_its_digits(run, logit, classes):
    """Where p rounds to 0 or 1 in float32 the cost is still right, up to PyTorch's clamp at 100 a class."""
    scene = random_scene([2], classes=classes, size=32)
    for objectness in (-logit, logit, 3.0):
        scene.cls_logits.fill_(logit)
        scene.obj_logits.fill_(objectness)
        check_against_reference(run(*scene), scene, tolerance=1e-5 * max(1, classes / 10))
    no_objectness = scene._replace(obj_logits=None)
    check_against_reference(run(*no_objectness), no_objectness, tolerance=1e-5 * max(1, classes / 10))


@each_implementation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_logits_beside_saturated_objectness(run, dtype):
    levels = torch.tensor(
        [-math.inf, -105, -99, -95, -88, -30, 0, 30, 70, 74, 86, 88, 92, 95, 98.8, 101, 105, math.inf]
    )
    scene = random_scene([1], classes=2, size=160, pad=0)
    scene = tensors(scene, lambda t: t.to(dtype) if t.is_floating_point() else t)
    grid = torch.cartesian_prod(levels, levels)
    order = torch.randperm(len(scene.strides)) % len(grid)
    assert len(scene.strides) > len(grid)
    scene.cls_logits[0, :, 0], scene.obj_logits[0] = grid[order].T.to(dtype)
    scene.cls_logits[0, :, 1] = 0.0
    for label in (0, 1):
        scene.gt_labels.fill_(label)
        rule = {"center_radius": 100.0, "iou_weight": 0.0}
        check_against_reference(run(*scene, **rule), scene, **rule)


@each_implementation
def test_no_class_cost_is_negative(run):
    # A sure and right prediction costs next to nothing: what two roundings of -log(1 - p) leave must not count below 0.
    scene = random_scene([1], classes=33, size=320, pad=0)
    scene.cls_logits.copy_(-32 - 60 * torch.rand(scene.cls_logits.shape))
    scene.cls_logits[..., int(scene.gt_labels)] = 110 * torch.rand(len(scene.strides))
    scene.obj_logits.copy_(110 * torch.rand(scene.obj_logits.shape))
    assert (run(*scene, center_radius=100.0, iou_weight=0.0).cost >= 0).all()


@each_implementation
def test_a_class_term_is_at_most_100(run):
    scene = random_scene([1], classes=3, size=32, pad=0)
    scene.cls_logits.fill_(500.0)
    scene.obj_logits.fill_(500.0)
    result = run(*scene, iou_weight=0.0)
    near = result.cost < 1e5
    assert near.any() and (result.cost[near] == 200).all()  # two wrong classes, one right


@each_implementation
def test_no_overlap_costs_three_times_18_420681(run):
    # Megvii's -log(0 + 1e-8) = 18.420681, which counts three times.
    scene = random_scene([1], size=32, pad=0)
    scene.pred_boxes[..., :2] = 500.0
    cost = run(*scene, cls_weight=0.0, outside_penalty=0.0).cost
    near = cost.isfinite()
    assert near.any()
    assert_close(cost[near], torch.full_like(cost[near], 3 * 18.420681), rtol=0, atol=1e-5)


@each_implementation
def test_nan_and_infinity(run):
    scene = random_scene([5], classes=4, seed=3)
    scene.pred_boxes[0, ::4, 0] = math.nan
    scene.cls_logits[0, ::5, 2] = math.nan
    scene.obj_logits[0, ::7] = math.nan
    scene.pred_boxes[0, 1::4, 2] = math.inf
    scene.cls_logits[0, 1::5, 3] = math.inf
    scene.cls_logits[0, 2::5, 3] = -math.inf
    check_against_reference(run(*scene), scene)


@each_implementation
def test_strides_do_not_matter(run):
    scene = random_scene([3, 7], seed=19)
    assert_close(tuple(run(*(strided(t) for t in scene))), tuple(run(*scene)), rtol=0, atol=0)


@pytest.mark.plain
def test_registration_and_compile():
    scene = random_scene([3, 0], size=32)
    for dtype in (torch.float32, torch.float64):
        cast = tensors(scene, lambda t, dtype=dtype: t.to(dtype) if t.is_floating_point() else t)
        check_registration("simota_cost", *cast, 1.5, "center", 1e6, 1.0, 3.0, 1e-8)
    check_compiles(simota_cost, *scene)
    scene.pred_boxes.requires_grad_()
    assert not any(t.requires_grad for t in simota_cost(*scene))


def test_errors():
    scene = random_scene([3, 2], size=32)
    with pytest.raises(ValueError, match=r"gt_boxes must be \[B, G, 4\], got \[2, 7, 5\]"):
        simota_cost(*scene._replace(gt_boxes=torch.rand(2, 7, 5)))
    with pytest.raises(ValueError, match=r"iou_eps must be in \[1e-30, 1\], got 0"):
        simota_cost(*scene, iou_eps=0)
    scene.gt_labels[1, 1] = 99
    with pytest.raises(ValueError, match=r"gt_labels must be in \[0, 5\), got 99 at image 1, row 1"):
        simota_cost(*scene)
