"""Labels and counts of every integer dtype. torch stores uint16, uint32 and uint64, but hardly computes with them."""

import pytest
import torch
from impls import COMPILING, check_compiles, check_registration, device_kernels, implementations
from loss_inputs import value_and_gradient, with_head
from scenes import random_scene

import yolox_ops
from yolox_ops._check import _INTEGERS, computable
from yolox_ops.yolox.assigners import ASSIGNERS, center, multi_positive

SCENE = random_scene([3, 0, 6], size=32, seed=3)
COST, OVERLAP = yolox_ops.simota_cost(*SCENE)
BOXES, SCORES = torch.rand(2, 30, 4, generator=torch.Generator().manual_seed(0)).cumsum(-1) * 9, torch.rand(2, 30)
LABELS = torch.arange(60).view(2, 30) % 3
RULE = (1.5, "center", 1e6, 1.0, 3.0, 1e-8)
HUGE = 2**64 - 1  # -1 as int64
UNSIGNED = [torch.uint16, torch.uint32, torch.uint64]
each_unsigned = pytest.mark.parametrize("dtype", UNSIGNED, ids=str)


def uint64(numbers):
    return torch.tensor(numbers, dtype=torch.uint64)


def typed(dtype, scene=SCENE):
    return scene._replace(gt_labels=scene.gt_labels.to(dtype), num_gts=scene.num_gts.to(dtype))


def run_ota(function, scene):
    return function(*scene[:2], *scene[3:], obj_logits=scene.obj_logits)


def same(found, wanted):
    torch.testing.assert_close(tuple(found), tuple(wanted), rtol=0, atol=0)


def test_these_are_torch_s_integers():
    widths = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    assert set(_INTEGERS) == {getattr(torch, width) for width in widths}


@each_unsigned
@pytest.mark.parametrize("run", implementations("simota"))
def test_simota(run, dtype):
    same(run(*typed(dtype)), yolox_ops.simota(*SCENE))


@each_unsigned
@pytest.mark.parametrize("run", implementations("simota_cost"))
def test_simota_cost(run, dtype):
    same(run(*typed(dtype)), (COST, OVERLAP))


@each_unsigned
@pytest.mark.parametrize("run", implementations("dynamic_k_match"))
def test_dynamic_k_match(run, dtype):
    same(run(COST, OVERLAP, SCENE.num_gts.to(dtype)), yolox_ops.simota(*SCENE))


@pytest.mark.parametrize("dtype", UNSIGNED[2:] if COMPILING else UNSIGNED, ids=str)
@pytest.mark.parametrize("run", implementations("ota"))
def test_ota(run, dtype):
    same(run_ota(run, typed(dtype)), run_ota(run, SCENE))


@pytest.mark.parametrize("dtype", [*UNSIGNED, torch.int8], ids=str)
@pytest.mark.parametrize("method", ["hard", "mean_gaussian"])
@pytest.mark.parametrize("run", implementations("batched_soft_nms"))
def test_soft_nms(run, dtype, method):
    same(run(BOXES, SCORES, LABELS.to(dtype), method=method), run(BOXES, SCORES, LABELS, method=method))


@pytest.mark.parametrize("run", implementations("batched_soft_nms"))
def test_soft_nms_tells_the_largest_labels_apart(run):
    rows = uint64([2**63 - 1, 2**63, HUGE])
    labels = torch.stack([torch.stack([rows[int(label)] for label in image]) for image in LABELS])
    same(run(BOXES, SCORES, labels), run(BOXES, SCORES, LABELS))


@each_unsigned
@pytest.mark.parametrize("name", ["simota", "ota", "center", "multi-positive"])
def test_assigners_and_the_loss(name, dtype):
    head, points, strides, *gts = with_head([4, 0, 7], 15)
    options = {"objectness": "iou", "l1": True, "assigner": ASSIGNERS[name]}
    narrow = [t if t.is_floating_point() else t.to(dtype) for t in gts]
    same(
        value_and_gradient(head, points, strides, *narrow, **options)[0],
        value_and_gradient(head, points, strides, *gts, **options)[0],
    )
    same(ASSIGNERS[name](*typed(dtype)), ASSIGNERS[name](*SCENE))


@pytest.mark.plain
@each_unsigned
def test_explain(dtype):
    scene = typed(dtype)
    assert str(yolox_ops.explain(yolox_ops.simota(*scene), *scene)) == str(
        yolox_ops.explain(yolox_ops.simota(*SCENE), *SCENE)
    )


@pytest.mark.plain
def test_explain_tells_a_huge_label_as_it_is():
    scene = typed(torch.uint64)
    nothing = yolox_ops.simota(*SCENE._replace(num_gts=SCENE.num_gts * 0))
    scene.gt_labels[0, 1] = uint64(HUGE)
    gt = yolox_ops.explain(nothing, *scene).gts[1]
    assert gt.label == HUGE and gt.reason == f"its label {HUGE} is not in [0, 5)"
    huge = scene._replace(num_gts=uint64([HUGE, 0, 0]))
    with pytest.raises(ValueError, match=rf"num_gts must be in \[0, 8\], got {HUGE} at image 0"):
        yolox_ops.explain(nothing, *huge)


@pytest.mark.plain
@each_unsigned
def test_fakes_exports_and_graphs(dtype):
    scene = typed(dtype)
    check_registration("simota", *scene, *RULE, 10, "down")
    check_registration("soft_nms", BOXES, SCORES, LABELS.to(dtype), "hard", 0.5, 0.3, 1e-3, -1, "xyxy")
    check_registration("dynamic_k_match", COST, OVERLAP, scene.num_gts, 10, "down")
    for assign in (yolox_ops.simota, center, multi_positive):
        check_compiles(assign, *scene)


@pytest.mark.parametrize("huge", [2**63, HUGE])
def test_what_int64_cannot_hold_is_out_of_range(huge):
    scene = typed(torch.uint64)
    scene.gt_labels[2, 1] = uint64(huge)
    counts = uint64([0, huge, 0])
    for function in (yolox_ops.simota, yolox_ops.simota_cost, ASSIGNERS["ota"], yolox_ops.yolox_loss):
        with pytest.raises(ValueError, match=rf"gt_labels must be in \[0, 5\), got {huge} at image 2, row 1"):
            function(*scene)
        with pytest.raises(ValueError, match=rf"num_gts must be in \[0, 8\], got {huge} at image 1"):
            function(*SCENE._replace(num_gts=counts))
    with pytest.raises(ValueError, match=rf"num_gts must be in \[0, 8\], got {huge} at image 1"):
        yolox_ops.dynamic_k_match(COST, OVERLAP, counts)


def absent(huge):
    """A scene with such a label and such counts, and what an assigner that looks at no value makes of it."""
    scene = typed(torch.uint64)._replace(num_gts=uint64([8, 0, huge]))
    clamped = SCENE._replace(num_gts=torch.tensor([8, 0, 8]), gt_boxes=SCENE.gt_boxes.clone())
    scene.gt_labels[0, 1] = uint64(huge)
    clamped.gt_boxes[0, 1] = torch.nan
    return scene, clamped


@pytest.mark.parametrize("huge", [HUGE] if COMPILING else [2**63, HUGE])
@pytest.mark.parametrize("kernel", device_kernels())
def test_devices_clamp_it(kernel, huge):
    scene, clamped = absent(huge)
    same(kernel("simota")(*scene, *RULE, 10, "down"), kernel("simota")(*clamped, *RULE, 10, "down"))
    same(kernel("simota_cost")(*scene, *RULE), kernel("simota_cost")(*clamped, *RULE))
    ota = (2.5, 20, 1.5, 0.1, 5, 0.0, 0.25, 2.0)
    same(kernel("ota")(*scene, *ota), kernel("ota")(*clamped, *ota))
    cost, iou = kernel("simota_cost")(*clamped, *RULE)
    found = kernel("dynamic_k_match")(cost, iou, scene.num_gts, 10, "down")
    same(found, kernel("dynamic_k_match")(cost, iou, clamped.num_gts, 10, "down"))
    assert found[2][2] > 0


@pytest.mark.parametrize("huge", [2**63, HUGE])
@pytest.mark.parametrize("assign", [center, multi_positive])
def test_fixed_rules_clamp_it(assign, huge):
    scene, clamped = absent(huge)
    same(assign(*scene), assign(*clamped))
    assert assign(*scene).num_fg[2] > 0


def test_computable_keeps_what_torch_computes_with():
    for dtype in (torch.int64, torch.uint8, torch.int16):
        numbers = torch.ones(2, dtype=dtype)
        assert computable(numbers) is numbers
    assert computable(uint64([7, 2**63, HUGE])).tolist() == [7, 2**63 - 1, 2**63 - 1]
