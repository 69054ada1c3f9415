"""What holds of the ops for every input; of simota in test_simota_properties.py."""

import pytest
import torch
from boxes import random_boxes
from hypothesis import given, settings
from hypothesis import strategies as st
from match_cases import check_match, random_case
from scenes import random_scene
from selection import check_selection
from torch.testing import assert_close

from yolox_ops import Scene, dynamic_k_match, pairwise_iou, simota_cost, soft_nms

KINDS = ["iou", "giou", "diou", "ciou"]
METHODS = ["hard", "linear", "gaussian", "mean_gaussian"]


@pytest.mark.plain
@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000), st.sampled_from(KINDS))
def test_pairwise_iou_symmetry_and_translation(m, n, seed, kind):
    boxes1, boxes2 = random_boxes(m, seed=seed), random_boxes(n, seed=seed + 1)
    result = pairwise_iou(boxes1, boxes2, kind=kind)
    assert_close(pairwise_iou(boxes2, boxes1, kind=kind).T, result, rtol=0, atol=0)
    assert_close(pairwise_iou(boxes1 + 8, boxes2 + 8, kind=kind), result, rtol=0, atol=1e-6)
    assert (result <= 1).all() and (result >= (0 if kind == "iou" else -2)).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=3), st.integers(0, 10**6))
def test_simota_cost_of_a_batch_equals_a_loop(counts, seed):
    scene = random_scene(counts, seed=seed, size=64)
    result = simota_cost(*scene)
    for b in range(len(counts)):
        one = Scene(*(t[b : b + 1] for t in scene[:3]), *scene[3:5], *(t[b : b + 1] for t in scene[5:]))
        assert_close(tuple(simota_cost(*one)), tuple(t[b : b + 1] for t in result), rtol=0, atol=0)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3), st.integers(1, 8), st.integers(1, 30), st.integers(0, 10**6), st.sampled_from([None, 2, 8]))
def test_dynamic_k_match_of_random_shapes(B, G, N, seed, levels):
    cost, iou = random_case((B, G, N), seed, levels)
    check_match(dynamic_k_match(cost, iou), cost, iou)


@pytest.mark.plain
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.integers(0, 10_000), st.sampled_from(METHODS))
def test_soft_nms_permutation_equivariance(n, seed, method):
    generator = torch.Generator().manual_seed(seed)
    boxes, labels = random_boxes(n, seed=seed), torch.randint(3, (n,), generator=generator)
    # No ties, nor such as a decay by a round number makes, which go by the index.
    scores = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) / n
    order = torch.randperm(n, generator=generator)
    indices, decayed = soft_nms(boxes[order], scores[order], labels[order], method=method)
    assert check_selection((order[indices], decayed), boxes, scores, labels, method=method) <= 1 + n // 20


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(1, 9), st.integers(0, 10_000), st.sampled_from(METHODS))
def test_soft_nms_labels_do_not_touch(n, kinds, seed, method):
    generator = torch.Generator().manual_seed(seed)
    boxes, scores = random_boxes(n, seed=seed), torch.rand(n, generator=generator)
    labels = torch.randint(kinds, (n,), generator=generator)
    indices, decayed = soft_nms(boxes, scores, labels, method=method)
    assert (decayed.diff() <= 0).all()
    for label in range(kinds):
        members = (labels == label).nonzero()[:, 0]
        alone = soft_nms(boxes[members], scores[members], method=method)
        mine = labels[indices] == label
        assert_close((indices[mine], decayed[mine]), (members[alone[0]], alone[1]), rtol=0, atol=0)
