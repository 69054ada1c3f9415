"""What holds of simota for every scene, and of its registration."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from impls import check_compiles, check_registration
from matching import tensors
from scenes import random_scene
from torch.testing import assert_close

from yolox_ops import Scene, dynamic_k_match, simota, simota_cost

SCENES = st.builds(
    random_scene,
    st.lists(st.integers(0, 12), min_size=1, max_size=4),
    classes=st.integers(1, 20),
    size=st.sampled_from([32, 64, 96]),
    seed=st.integers(0, 10**6),
    objectness=st.booleans(),
)
RULE = st.fixed_dictionaries(
    {
        "center_radius": st.sampled_from([0.5, 1.5, 2.5]),
        "candidates": st.sampled_from(["center", "box_or_center", "all"]),
        "outside_penalty": st.sampled_from([0.0, 1.0, 10.0, 1e5, 1e6, 1e9]),
        "cls_weight": st.sampled_from([0.0, 1.0, 1e6]),
        "iou_weight": st.sampled_from([0.0, 3.0, 1e6]),
        "iou_eps": st.sampled_from([1e-30, 1e-8, 1e-3, 1.0]),
        "topk": st.integers(1, 20),
        "k_rounding": st.sampled_from(["down", "nearest"]),
    }
)


@settings(max_examples=100, deadline=None)
@given(SCENES, RULE)
def test_fused_equals_cost_and_match(scene, rule):
    k = {name: rule.pop(name) for name in ("topk", "k_rounding")}
    cost, iou = simota_cost(*scene, **rule)
    matched = dynamic_k_match(cost, iou, scene.num_gts, **k)
    assert_close(tuple(simota(*scene, **rule, **k)), tuple(matched), rtol=0, atol=0)


@settings(max_examples=40, deadline=None)
@given(SCENES)
def test_batch_equals_loop_and_padding_is_ignored(scene):
    result = simota(*scene)
    for b, count in enumerate(scene.num_gts.tolist()):
        alone = Scene(
            *(t[b : b + 1] if t is not None else None for t in scene[:3]),
            *scene[3:5],
            scene.gt_boxes[b : b + 1, :count],
            scene.gt_labels[b : b + 1, :count],
            None,
        )
        assert_close(tuple(simota(*alone)), tuple(t[b : b + 1] for t in result), rtol=0, atol=0)


@pytest.mark.plain
@settings(max_examples=40, deadline=None)
@given(SCENES, st.integers(0, 10**6))
def test_permuted_gts_permute_the_answer(scene, seed):
    scene = scene._replace(num_gts=None)
    order = torch.randperm(scene.gt_boxes.shape[1], generator=torch.Generator().manual_seed(seed))
    permuted = simota(*scene._replace(gt_boxes=scene.gt_boxes[:, order], gt_labels=scene.gt_labels[:, order]))
    result = simota(*scene)
    renamed = torch.where(permuted.fg_mask, order[permuted.matched_gt.clamp(min=0)], -1)
    # Where two ground truths cost the same the lower row wins, so there the order does matter.
    cost = simota_cost(*scene).cost
    tied = (cost == cost.amin(1, keepdim=True)).sum(1) > 1
    assert torch.equal(renamed[~tied], result.matched_gt[~tied])
    assert torch.equal(permuted.num_fg, result.num_fg)


@pytest.mark.plain
@settings(max_examples=40, deadline=None)
@given(SCENES, st.integers(-64, 64), st.integers(-64, 64))
def test_translation_changes_nothing(scene, dx, dy):
    shift = torch.tensor([dx, dy, 0, 0]) * 8.0
    moved = scene._replace(
        pred_boxes=scene.pred_boxes + shift,
        anchor_points=scene.anchor_points + shift[:2],
        gt_boxes=scene.gt_boxes + shift,
    )
    assert torch.equal(simota(*moved).matched_gt, simota(*scene).matched_gt)


@pytest.mark.plain
@pytest.mark.parametrize("counts", [[3, 0], [5]])
def test_registration(counts):
    scene = random_scene(counts, size=32)
    check_registration("simota", *scene, 1.5, "center", 1e6, 1.0, 3.0, 1e-8, 10, "down")
    moved = tensors(scene, lambda t: t.transpose(0, -1).contiguous().transpose(0, -1))._replace(obj_logits=None)
    check_registration("simota", *moved, 2.5, "box_or_center", 1e5, 1.0, 3.0, 1e-7, 10, "nearest")


@pytest.mark.plain
def test_compiles_with_parameters_that_vary():
    scene = random_scene([3, 2], size=32)

    def assign(*args, radius, topk):
        return simota(*args, center_radius=radius, topk=topk)

    compiled = torch.compile(assign, fullgraph=True, backend="aot_eager", dynamic=True)
    for radius, topk in ((1.5, 10), (2.5, 4), (0.5, 7)):
        expected = simota(*scene, center_radius=radius, topk=topk)
        assert_close(tuple(compiled(*scene, radius=radius, topk=topk)), tuple(expected), rtol=0, atol=0)


@pytest.mark.plain
def test_compiles_and_detaches():
    scene = random_scene([3, 0, 4], size=32)
    check_compiles(simota, *scene)
    check_compiles(simota, *scene._replace(num_gts=None, obj_logits=None), topk=4)
    result = simota(*scene._replace(pred_boxes=scene.pred_boxes.requires_grad_()))
    assert not result.matched_iou.requires_grad
