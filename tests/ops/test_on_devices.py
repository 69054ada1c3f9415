"""What kernels for GPUs promise beyond the rule of their op: the bits of the C++ kernels in float32, the same answer on
their general paths, and an answer where the C++ kernels raise. The rule is the matter of the ops' own tests."""

import math

import pytest
import torch
from boxes import ODD_BOXES, random_boxes
from impls import SLOW, by_cpp, check_equals_cpp, device_kernels
from scenes import random_scene
from selection import sample
from torch.testing import assert_close

from yolox_ops import Scene, soft_nms

each_device = pytest.mark.parametrize("kernel", device_kernels())
each_format = pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])

# Positional arguments of the bare op behind the scene.
RULES = [
    (1.5, "center", 1e6, 1.0, 3.0, 1e-8),
    (2.5, "box_or_center", 1e5, 0.3, 1.7, 1e-7),
    (17.0, "all", 1e3, 1.0, 3.0, 1e-8),
]
each_rule = pytest.mark.parametrize("rule", RULES)


@each_device
@each_format
@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
def test_similarities_have_the_bits_of_cpp(kernel, fmt, kind):
    """Boxes off the lattice, where every operation rounds, and odd ones."""
    broken = [[math.nan, 0, 10, 10], [0, 0, 10, math.nan], [-math.inf, 0, math.inf, 9], [0, 0, math.inf, 9]]
    rough = random_boxes(90, fmt=fmt) + torch.rand(90, 4)
    boxes = torch.cat([rough, random_boxes(60, fmt=fmt), ODD_BOXES, torch.tensor(broken)])
    check_equals_cpp(kernel, "pairwise_iou", boxes[None], boxes[None, ::3].flip(1), fmt, kind)
    check_equals_cpp(kernel, "aligned_iou", boxes, boxes.flip(0), fmt, kind)


@each_device
@each_format
@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_gradients_follow_those_of_cpp(kernel, fmt, kind):
    """Ties, boxes that do not overlap and empty ones included, and more others than a block has threads; sums may round
    otherwise."""
    boxes = torch.cat([random_boxes(30, fmt=fmt), ODD_BOXES]).double()
    n, others = len(boxes), torch.cat([boxes.flip(0), random_boxes(250, fmt=fmt).double()])
    for op, grad, pair in [
        ("pairwise_iou_backward", torch.randn(1, n, len(others)), (boxes[None], others[None])),
        ("aligned_iou_backward", torch.randn(n), (boxes, boxes.flip(0))),
    ]:
        expected = by_cpp(op, grad.double(), *pair, fmt, kind)
        assert_close(kernel(op)(grad.double(), *pair, fmt, kind), expected, rtol=1e-11, atol=1e-11)


@each_device
@each_rule
@pytest.mark.parametrize(("classes", "objectness"), [(1, True), (20, False), (40, True), (1030, True)])
def test_costs_have_the_bits_of_cpp(kernel, rule, classes, objectness):
    scene = random_scene([3, 0, 7], classes=classes, size=64, seed=classes, objectness=objectness)
    scene.cls_logits.mul_(8)  # far enough for every branch of the class cost
    scene.cls_logits[0, ::5, -1] = math.nan
    check_equals_cpp(kernel, "simota_cost", *scene, *rule)


@each_device
@each_rule
@pytest.mark.parametrize("k", [(1, "down"), (10, "nearest"), (500, "down")])
def test_matches_have_the_bits_of_cpp(kernel, rule, k):
    scene = random_scene([3, 0, 12], size=64, seed=k[0])
    check_equals_cpp(kernel, "simota", *scene, *rule, *k)
    cost, iou = by_cpp("simota_cost", *scene, *rule)
    check_equals_cpp(kernel, "dynamic_k_match", cost, iou, scene.num_gts, *k)


@each_device
@pytest.mark.parametrize("method", ["hard", "linear", "gaussian"])
def test_selections_are_those_of_cpp(kernel, method):
    """A box that several lower is multiplied in another order on a GPU, so its last bits may differ."""
    boxes, scores, labels = sample(2, 100 if SLOW else 400, kinds=8, extent=300)
    for groups in (labels, None):
        args = boxes, scores, groups, method, 0.5, 0.3, 1e-3, 50, "xyxy"
        (indices, decayed, counts), expected = kernel("soft_nms")(*args), by_cpp("soft_nms", *args)
        assert torch.equal(indices, expected[0]) and torch.equal(counts, expected[2])
        assert_close(decayed, expected[1], rtol=1e-6, atol=0)


@each_device
@pytest.mark.parametrize(("topk", "dtype"), [(3, torch.float32), (60, torch.float32), (3, torch.float64)])
def test_more_candidates_than_shared_memory_holds(kernel, topk, dtype):
    """1344 anchors: all of them in every ground truth's own region; then all of them candidates, few in its own."""
    scene = random_scene([4], size=256, seed=1)
    scene.gt_boxes[0, 0] = torch.tensor([128.0, 128, 400, 400])
    scene.pred_boxes[0, :, :2].clamp_(0, 256)
    scene = scene._replace(pred_boxes=scene.pred_boxes.to(dtype))
    rule = (100.0, *RULES[0][1:])
    cost, iou = by_cpp("simota_cost", *scene, *rule)
    assert (cost[0, 0] < 1e5).sum() > 1024 and (iou[0, 0] > 0).sum() > 1024
    check_equals_cpp(kernel, "simota", *scene, *rule, topk, "down")
    check_equals_cpp(kernel, "dynamic_k_match", cost, iou, scene.num_gts, topk, "down")
    crowd = random_scene([300], size=256, seed=2)  # more gts than a tile has threads, too
    crowd = crowd._replace(pred_boxes=crowd.pred_boxes.to(dtype))
    cost, _ = by_cpp("simota_cost", *crowd, *RULES[0])
    assert cost[0, 0].isfinite().sum() > 1024
    check_equals_cpp(kernel, "simota", *crowd, *RULES[0], topk, "down")


@each_device
def test_more_tiles_than_a_block_holds(kernel):
    """140,000 anchors in no grid; candidates at both ends and between."""
    N = 140_000
    points = torch.rand(N, 2, generator=torch.Generator().manual_seed(0)) * 300
    points[[0, 1, N - 2, N - 1]] = torch.tensor([100.0, 100.0])
    gts = torch.tensor([[[100.0, 100, 40, 40], [150, 150, 60, 30], [290, 15, 10, 90]]])
    scene = Scene(
        torch.cat([points, torch.full((N, 2), 40.0)], 1)[None],
        torch.linspace(3, -3, N)[None, :, None],  # the first tiles are the cheapest
        None,
        points,
        torch.full((N,), 8.0),
        gts,
        torch.zeros(1, 3, dtype=torch.int64),
        None,
    )
    check_equals_cpp(kernel, "simota", *scene, *RULES[0], 300, "down")  # so many that every tile matters
    cost, _ = by_cpp("simota_cost", *scene, *RULES[0])
    assert cost[0, 0, [0, N - 1]].isfinite().all() and cost[0, 0].isfinite().sum() > 1000
    check_equals_cpp(kernel, "simota_cost", *scene, *RULES[0])


def with_absent_rows(scene: Scene) -> tuple[Scene, list[int]]:
    """The scene with rows strewn in that are no ground truths, and where the real ones went. If they counted, those on
    objects would match, and those in corners would make candidates of anchors that have none."""
    boxes = scene.gt_boxes.repeat_interleave(2, 1)
    labels = scene.gt_labels.repeat_interleave(2, 1)
    real = list(range(0, boxes.shape[1], 2))
    boxes[:, 1, 2] = math.nan
    boxes[:, 3, 0] = math.nan
    labels[:, 5::2] = -1
    labels[:, 7::4] = scene.cls_logits.shape[2]
    boxes[:, 5, :2], boxes[:, 7, :2] = torch.tensor([4.0, 4]), torch.tensor([60.0, 60])
    return scene._replace(gt_boxes=boxes, gt_labels=labels), real


@each_device
@each_rule
def test_absent_gts_are_as_if_not_given(kernel, rule):
    plain = random_scene([6, 6], size=64, pad=0)._replace(num_gts=None)
    plain.cls_logits[..., [0, -1]] = 9  # what lies where a label that does not exist would be looked up
    scene, real = with_absent_rows(plain)
    counted = scene._replace(gt_boxes=scene.gt_boxes.nan_to_num(), gt_labels=torch.zeros_like(scene.gt_labels))
    candidates = [by_cpp("simota_cost", *s, *rule)[0].isfinite().any(1).sum() for s in (plain, counted)]
    assert candidates[0] < candidates[1] or rule[1] == "all"
    cost, iou = kernel("simota_cost")(*scene, *rule)
    assert_close((cost[:, real], iou[:, real]), by_cpp("simota_cost", *plain, *rule), rtol=0, atol=0)
    absent = [row for row in range(scene.gt_boxes.shape[1]) if row not in real]
    assert (cost[:, absent] == math.inf).all() and (iou[:, absent] == 0).all()

    matched_gt, *others = kernel("simota")(*scene, *rule, 10, "down")
    expected_gt, *expected = by_cpp("simota", *plain, *rule, 10, "down")
    assert torch.equal(matched_gt, torch.where(expected_gt < 0, -1, 2 * expected_gt))
    assert_close(others, expected, rtol=0, atol=0)


@each_device
@pytest.mark.parametrize("dtype", [torch.int64, torch.int8])
def test_num_gts_is_clamped(kernel, dtype):
    scene = random_scene([2, 4], size=64, pad=0)._replace(num_gts=torch.tensor([-3, 77], dtype=dtype))
    clamped = scene._replace(num_gts=torch.tensor([0, 4]))
    cost, iou = by_cpp("simota_cost", *clamped, *RULES[0])
    assert_close(kernel("simota_cost")(*scene, *RULES[0]), (cost, iou), rtol=0, atol=0)
    expected = by_cpp("simota", *clamped, *RULES[0], 10, "down")
    assert_close(kernel("simota")(*scene, *RULES[0], 10, "down"), expected, rtol=0, atol=0)
    assert_close(kernel("dynamic_k_match")(cost, iou, scene.num_gts, 10, "down"), expected, rtol=0, atol=0)


@each_device
def test_without_classes_everything_is_background(kernel):
    scene = random_scene([3], size=32)
    scene = scene._replace(cls_logits=scene.cls_logits[..., :0])
    matched_gt, _, num_fg = kernel("simota")(*scene, *RULES[0], 10, "down")
    assert (matched_gt == -1).all() and num_fg.tolist() == [0]


@each_device
def test_rounds_of_selection_equal_one_selection_at_a_time(kernel):
    """Chains of boxes, in which a selection decides who leads next far away; against C++, which goes one by one."""
    n = 1100 if SLOW else 1500  # CUDA puts more than 1024 boxes in spatial order first
    chain = torch.arange(n)[:, None] * torch.tensor([3.0, 0, 3, 0]) + torch.tensor([0.0, 0, 10, 10])
    rising, falling = torch.linspace(0.2, 0.9, n), torch.linspace(0.9, 0.2, n)
    for scores in (rising, falling, torch.rand(n)):
        shuffle = torch.randperm(n)
        args = chain[shuffle][None], scores[None], None, "linear", 0.5, 0.3, 1e-3, -1, "xyxy"
        (indices, decayed, _), expected = kernel("soft_nms")(*args), by_cpp("soft_nms", *args)
        assert torch.equal(indices, expected[0])
        assert_close(decayed, expected[1], rtol=1e-6, atol=0)
    assert len(soft_nms(chain, rising)[0]) > n // 15
