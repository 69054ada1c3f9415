"""What Triton's simota_cost, dynamic_k_match and simota promise beyond the rule: in float32 the bits of the C++
kernels, and an answer where those raise. The rule is the matter of the ops' own tests, run in the interpreter too."""

import importlib
import math

import pytest
import torch
from impls import INTERPRETED, ServedBy, triton_launcher
from matching import one_gt
from scenes import Scene, random_scene
from torch.testing import assert_close

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels run on CPU tensors only under TRITON_INTERPRET=1")

# Positional arguments of the bare op behind the scene.
RULES = [
    (1.5, "center", 1e6, 1.0, 3.0, 1e-8),
    (2.5, "box_or_center", 1e5, 0.3, 1.7, 1e-7),
]


def by_cpp(op: str, *args) -> tuple[torch.Tensor, ...]:
    return getattr(torch.ops.yolox_ops, op)(*args)


def by_triton(op: str, *args) -> tuple[torch.Tensor, ...]:
    with ServedBy(triton_launcher):
        return by_cpp(op, *args)


def check_equals_cpp(op: str, *args) -> None:
    assert_close(by_triton(op, *args), by_cpp(op, *args), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("classes", "objectness"), [(1, True), (20, False), (40, True), (1030, True)])
def test_simota_cost_equals_cpp_to_the_bit(rule, classes, objectness):
    scene = random_scene([3, 0, 7], classes=classes, size=64, seed=classes, objectness=objectness)
    scene.cls_logits.mul_(8)  # far enough for every branch of the class cost
    scene.cls_logits[0, ::5, -1] = math.nan
    check_equals_cpp("simota_cost", *scene, *rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("topk", [1, 10, 500])
def test_simota_equals_cpp_to_the_bit(rule, topk):
    check_equals_cpp("simota", *random_scene([3, 0, 12], size=64, seed=topk), *rule, topk)


@pytest.mark.parametrize("op", ["simota", "dynamic_k_match"])
def test_more_anchors_than_a_block(op, monkeypatch):
    scene = random_scene([6, 2], size=64)
    cost, iou = by_cpp("simota_cost", *scene, *RULES[1])
    iou[:, 3] = 0.0
    iou[:, 3, ::20] = 0.75  # k = 3, from one anchor in every block
    iou[:, 4, ::3] = math.nan
    monkeypatch.setattr(importlib.import_module(f"yolox_ops.triton.{op}"), "BLOCK", 16)
    assert (cost[:, 0].isfinite().sum(-1) > 32).all()
    args = (*scene, *RULES[1], 7) if op == "simota" else (cost, iou, scene.num_gts, 7)
    check_equals_cpp(op, *args)


def test_order_of_candidates_is_nothing(monkeypatch):
    # On a GPU the programs that find them append in any order.
    module = importlib.import_module("yolox_ops.triton.simota")
    find = module.launch_candidates

    def find_backwards(*args):
        (scene, *numbers), rule = find(*args)
        for row, size in zip(scene.candidates, scene.sizes.tolist(), strict=True):
            row[:size] = row[:size].flip(0)
        return (scene, *numbers), rule

    monkeypatch.setattr(module, "launch_candidates", find_backwards)
    monkeypatch.setattr(module, "BLOCK", 8)
    check_equals_cpp("simota", *random_scene([5, 3], size=64), *RULES[0], 10)
    ties = one_gt([36.0, 36.0, 40.0, 40.0])
    assert by_cpp("simota_cost", *ties, *RULES[0])[0].isfinite().sum() > 16
    check_equals_cpp("simota", *ties, *RULES[0], 10)


def with_absent_rows(scene: Scene) -> tuple[Scene, list[int]]:
    """The scene with rows strewn in that are no ground truths, and where its own rows went. The strewn rows lie on
    objects, so that they would match if they counted."""
    boxes = scene.gt_boxes.repeat_interleave(2, 1)
    labels = scene.gt_labels.repeat_interleave(2, 1)
    own = list(range(0, boxes.shape[1], 2))
    boxes[:, 1, 2] = math.nan
    boxes[:, 3, 0] = math.nan
    labels[:, 5::2] = -1
    labels[:, 7::4] = scene.cls_logits.shape[2]
    return scene._replace(gt_boxes=boxes, gt_labels=labels), own


@pytest.mark.parametrize("rule", RULES)
def test_absent_gts_are_as_if_not_given(rule):
    plain = random_scene([6, 6], size=64, pad=0)._replace(num_gts=None)
    scene, own = with_absent_rows(plain)
    cost, iou = by_triton("simota_cost", *scene, *rule)
    assert_close((cost[:, own], iou[:, own]), by_cpp("simota_cost", *plain, *rule), rtol=0, atol=0)
    rest = [row for row in range(scene.gt_boxes.shape[1]) if row not in own]
    assert (cost[:, rest] == math.inf).all() and (iou[:, rest] == 0).all()

    matched_gt, *others = by_triton("simota", *scene, *rule, 10)
    expected_gt, *expected = by_cpp("simota", *plain, *rule, 10)
    assert torch.equal(matched_gt, torch.where(expected_gt < 0, -1, 2 * expected_gt))
    assert_close(others, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8])
def test_num_gts_is_clamped(dtype):
    scene = random_scene([2, 4], size=64, pad=0)._replace(num_gts=torch.tensor([-3, 77], dtype=dtype))
    clamped = scene._replace(num_gts=torch.tensor([0, 4]))
    cost, iou = by_cpp("simota_cost", *clamped, *RULES[0])
    assert_close(by_triton("simota_cost", *scene, *RULES[0]), (cost, iou), rtol=0, atol=0)
    expected = by_cpp("simota", *clamped, *RULES[0], 10)
    assert_close(by_triton("simota", *scene, *RULES[0], 10), expected, rtol=0, atol=0)
    assert_close(by_triton("dynamic_k_match", cost, iou, scene.num_gts, 10), expected, rtol=0, atol=0)


def test_no_class_is_no_gt():
    scene = random_scene([3], size=32)
    scene = scene._replace(cls_logits=scene.cls_logits[..., :0])
    matched_gt, _, num_fg = by_triton("simota", *scene, *RULES[0], 10)
    assert (matched_gt == -1).all() and num_fg.tolist() == [0]
