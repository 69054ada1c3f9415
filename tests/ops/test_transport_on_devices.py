"""What sinkhorn and ota promise on a GPU beyond their rule: the answer of the C++ kernels on general paths too, and one
where these raise. The rule is the matter of the ops' own tests."""

import math

import pytest
import torch
from impls import by_cpp, device_kernels
from scenes import random_scene
from torch.testing import assert_close

from yolox_ops import Scene

each_device = pytest.mark.parametrize("kernel", device_kernels())

# Positional arguments of the bare ops behind their tensors.
SINKHORN = (0.1, 20, 0.0)
OTA = (2.5, 20, 1.5, 0.1, 20, 0.0, 0.25, 2.0)
WIDE = (100.0, 60, *OTA[2:])  # regions are the whole boxes


@each_device
@pytest.mark.parametrize(
    ("dtype", "M", "N"), [(torch.float32, 9, 300), (torch.float64, 9, 165), (torch.float32, 70, 290)]
)
def test_plans_are_those_of_cpp(kernel, dtype, M, N):
    """More images, rows and columns than a block has; images that end one after another."""
    B = 6
    cost = torch.rand(B, M, N) * torch.linspace(0.3, 9, B)[:, None, None]
    cost[:, 1::3] += 1e6 * (torch.rand(B, len(range(1, M, 3)), N) < 0.7)
    cost[:, 2, ::3], cost[0, 3], cost[1, :, 5] = math.inf, math.nan, -math.inf
    tensors = cost.to(dtype), torch.rand(B, M) * 4, torch.rand(B, N)
    atol = 1e-5 if dtype == torch.float32 else 1e-9
    for tolerance in (0.0, 0.05):
        found = kernel("sinkhorn")(*tensors, 0.1, 10, tolerance)
        assert_close(found, by_cpp("sinkhorn", *tensors, 0.1, 10, tolerance), rtol=0, atol=atol)
        assert (found[~cost.isfinite()] == 0).all()


@each_device
@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, 2e12])
def test_masses_out_of_range_count_0(kernel, bad):
    cost, supply, demand = torch.rand(2, 3, 9), torch.rand(2, 3), torch.rand(2, 9)
    supply[0, 1], demand[1, 4] = 0, 0
    expected = by_cpp("sinkhorn", cost, supply, demand, *SINKHORN)
    supply[0, 1], demand[1, 4] = bad, bad
    assert_close(kernel("sinkhorn")(cost, supply, demand, *SINKHORN), expected, rtol=0, atol=1e-5)


def check_ota(kernel, scene: Scene, rule=OTA, expected=None) -> torch.Tensor:
    """The C++ kernel's assignment; returns it. No two shares of these scenes are as close as rounding."""
    found = kernel("ota")(*scene, *rule)
    expected = by_cpp("ota", *scene, *rule) if expected is None else expected
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, rtol=0, atol=0)
    return found[0]


@each_device
def test_gts_between_the_anchors(kernel):
    """More of them in an image than rows of costs are kept; with them the ones that lie as usual, in one crowd too."""
    scene = random_scene([30, 3, 26], size=64, seed=5)
    between = torch.rand(len(scene.num_gts), 26, 2).mul(6).floor() * 8 + 8
    for b in (0, 2):
        scene.gt_boxes[b, :26] = torch.cat([between[b], torch.full((26, 2), 3.0)], -1)
    matched_gt = check_ota(kernel, scene)
    assert (matched_gt[0] >= 26).any() and ((matched_gt[0] >= 0) & (matched_gt[0] < 26)).sum() > 10


@each_device
@pytest.mark.parametrize("epsilon", [1e-3, 1e-2])
def test_potentials_far_apart(kernel, epsilon):
    """A crowd bids for the same few anchors, one of it from afar: factors leave their window again and again."""
    scene = random_scene([14, 6], size=64, seed=0)
    scene.gt_boxes[..., :2].copy_(25 + 10 * torch.rand(scene.gt_boxes[..., :2].shape))
    scene.gt_boxes[:, 0] = torch.tensor([32.0, 32, 2, 2])
    check_ota(kernel, scene, (*OTA[:3], epsilon, 100, *OTA[5:]))


@each_device
def test_gts_of_many_pairs(kernel):
    """All anchors of a box lie in its region: more than a list holds, in more rows than are kept, and in one more than
    shared memory has overlaps for."""
    size, gts = 256, 22
    scene = random_scene([gts, 4, 1], size=size, seed=1, pad=0)
    scene.gt_boxes[0, 1::2, 2:] = size * 0.6
    scene.gt_boxes[0, 1::2, :2] = size / 2 + torch.randn(gts // 2, 2) * 8
    scene.gt_boxes[:, 0] = torch.tensor([size / 2, size / 2, 1.5 * size, 1.5 * size])
    scene.pred_boxes[..., :2].clamp_(0, size)
    matched_gt = check_ota(kernel, scene, WIDE)
    assert matched_gt[0].unique().numel() > gts // 2
    check_ota(kernel, scene, (*WIDE[:5], 1e3, *WIDE[6:]))  # settled after the second iteration


@pytest.mark.heavy
@each_device
def test_more_gts_than_threads(kernel):
    """600 of them, some without an anchor, on 1344."""
    scene = random_scene([600], size=256, seed=2)
    assert check_ota(kernel, scene).unique().numel() > 300


@each_device
def test_a_tolerance_that_always_holds(kernel):
    """The second iteration is the last, not the first."""
    scene = random_scene([12, 12], size=64, seed=4)
    first, second = (by_cpp("ota", *scene, *OTA[:4], n, 0.0, *OTA[6:]) for n in (1, 2))
    assert not torch.equal(first[0], second[0])
    check_ota(kernel, scene, (*OTA[:5], 1e3, *OTA[6:]), second)


@each_device
def test_absent_gts_are_as_if_not_given(kernel):
    """NaN in a box, or a label that does not exist: no region, no supply."""
    plain = random_scene([6, 6], size=64, pad=0)._replace(num_gts=None)
    boxes, labels = (t.repeat_interleave(2, 1) for t in (plain.gt_boxes, plain.gt_labels))
    boxes[:, 1, 2] = boxes[:, 3, 0] = math.nan
    labels[:, 5::2] = -1
    labels[:, 7::4] = plain.cls_logits.shape[2]
    matched_gt, *rest = by_cpp("ota", *plain, *OTA)
    expected = (torch.where(matched_gt < 0, -1, 2 * matched_gt), *rest)
    check_ota(kernel, plain._replace(gt_boxes=boxes, gt_labels=labels), expected=expected)


@each_device
@pytest.mark.parametrize("dtype", [torch.int64, torch.int8])
def test_num_gts_is_clamped(kernel, dtype):
    scene = random_scene([2, 4], size=64, pad=0)
    expected = by_cpp("ota", *scene._replace(num_gts=torch.tensor([0, 4])), *OTA)
    check_ota(kernel, scene._replace(num_gts=torch.tensor([-3, 77], dtype=dtype)), expected=expected)


@each_device
def test_without_classes_everything_is_background(kernel):
    scene = random_scene([3], size=32)
    scene = scene._replace(cls_logits=scene.cls_logits[..., :0])
    matched_gt, matched_iou, num_fg = kernel("ota")(*scene, *OTA)
    assert (matched_gt == -1).all() and (matched_iou == 0).all() and num_fg.tolist() == [0]


@each_device
def test_gts_without_a_number_supply_nothing(kernel):
    """Were they counted, nothing would be left to the background of 21 anchors."""
    scene = random_scene([23, 5], classes=7, size=32, seed=3, pad=0)
    scene.gt_labels[0] = torch.tensor([1, 4, 6] + [2] * 20)
    scene.cls_logits[0, :, 2] = math.nan
    scene.cls_logits[1] = math.nan
    matched_gt = check_ota(kernel, scene)
    counted = by_cpp("ota", *scene._replace(cls_logits=scene.cls_logits.nan_to_num()), *OTA)[0]
    assert (matched_gt[0] < 3).all() and (matched_gt[0] >= 0).sum() < 15 < (counted[0] >= 0).sum()
    assert (matched_gt[1] == -1).all()


@each_device
def test_an_image_is_the_same_in_any_place_of_a_batch(kernel):
    one = random_scene([12], size=64, seed=9)
    many = Scene(*(t.repeat(3, *[1] * (t.dim() - 1)) if t.shape[:1] == (1,) else t for t in one))
    cost, supply, demand = torch.rand(1, 7, 70) * 5, torch.rand(1, 7) * 9, torch.rand(1, 70)
    plans = kernel("sinkhorn")(*(t.repeat(3, *[1] * (t.dim() - 1)) for t in (cost, supply, demand)), *SINKHORN)
    for found in (plans, *kernel("ota")(*many, *OTA)):
        assert_close(found, found[:1].expand_as(found), rtol=0, atol=0)
