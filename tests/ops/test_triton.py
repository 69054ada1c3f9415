"""Triton's general paths, which the sizes of other tests do not reach: several blocks, and candidates in any order."""

import importlib
import math

import pytest
import torch
from impls import by_cpp, check_equals_cpp, device_kernels
from matching import one_gt
from scenes import random_scene
from selection import sample

each_triton = pytest.mark.parametrize("kernel", device_kernels("triton"))
METHODS = ["hard", "linear", "gaussian", "mean_gaussian"]
CENTER = (1.5, "center", 1e6, 1.0, 3.0, 1e-8)
BOX_OR_CENTER = (2.5, "box_or_center", 1e5, 0.3, 1.7, 1e-7)


@each_triton
@pytest.mark.parametrize("op", ["simota", "dynamic_k_match"])
def test_more_anchors_than_a_block(kernel, op, monkeypatch):
    scene = random_scene([6, 2], size=64)
    cost, iou = by_cpp("simota_cost", *scene, *BOX_OR_CENTER)
    iou[:, 3] = 0.0
    iou[:, 3, ::20] = 0.75  # k = 3, from one anchor in every block
    iou[:, 4, ::3] = math.nan
    monkeypatch.setattr(importlib.import_module(f"yolox_ops.triton.{op}"), "BLOCK", 16)
    assert (cost[:, 0].isfinite().sum(-1) > 32).all()
    args = (*scene, *BOX_OR_CENTER, 7, "nearest") if op == "simota" else (cost, iou, scene.num_gts, 7, "nearest")
    check_equals_cpp(kernel, op, *args)


@each_triton
def test_the_order_of_candidates_does_not_matter(kernel, monkeypatch):
    # On a GPU the programs that find them append in any order.
    module = importlib.import_module("yolox_ops.triton.simota")
    find = module.launch_candidates

    def find_backwards(*args):
        (batch, *numbers), rule = find(*args)
        for b, size in enumerate(batch.candidate_counts.tolist()):
            for of_slots in (batch.candidates, batch.traits, batch.negatives):
                of_slots[b, ..., :size] = of_slots[b, ..., :size].flip(-1)
            batch.slots[b, batch.candidates[b, :size].long()] = torch.arange(size, dtype=torch.int32)
        return (batch, *numbers), rule

    monkeypatch.setattr(module, "launch_candidates", find_backwards)
    monkeypatch.setattr(module, "BLOCK", 8)
    check_equals_cpp(kernel, "simota", *random_scene([5, 3], size=64), *CENTER, 10, "down")
    ties = one_gt([36.0, 36.0, 40.0, 40.0])
    assert by_cpp("simota_cost", *ties, *CENTER)[0].isfinite().sum() > 16
    check_equals_cpp(kernel, "simota", *ties, *CENTER, 10, "down")


@each_triton
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("threshold", [1e-3, -3.0])
def test_labels_of_any_number_of_boxes(kernel, method, threshold, monkeypatch):
    """Labels of up to 16 boxes, of more, and of more than the threads of a program, which take several steps."""
    launcher = importlib.import_module("yolox_ops.triton.soft_nms")
    monkeypatch.setattr(launcher, "SMALL", 16)
    monkeypatch.setattr(launcher, "LARGE", 512)
    boxes, scores, labels = sample(1, 700, extent=400)
    labels = labels.clamp(max=3) * (torch.rand(1, 700) < 0.1)
    boxes, scores = boxes + torch.rand(1, 700, 4), scores if threshold > 0 else scores - 0.5
    tied = (scores * 8).round() / 8  # also of boxes that one thread sees in different steps
    for groups, values in ((labels, scores), (None, scores), (labels, tied)):
        check_equals_cpp(kernel, "soft_nms", boxes, values, groups, method, 0.5, 0.3, threshold, 70, "xyxy")


@each_triton
@pytest.mark.parametrize(("small", "rows"), [(0, 8), (0, 2), (4096, 8)])
@pytest.mark.parametrize("tolerance", [0.0, 0.05, 1e3])
def test_a_transport_of_several_programs(kernel, tolerance, small, rows, monkeypatch):
    """More columns, tiles and, where these are not few, rows than a program takes in one step; and one program."""
    module = importlib.import_module("yolox_ops.triton.sinkhorn")
    sizes = {"SMALL": small, "ROWS": rows, "COLUMNS": 8, "FEWEST_STEPS": 2, "SEEN": 16, "TILES": 2}
    for name, size in sizes.items():
        monkeypatch.setattr(module, name, size)
    cost = torch.rand(3, 5, 41) * torch.tensor([0.1, 9, 0.1])[:, None, None]
    cost[1, 2], cost[2, 1, ::2], cost[0, 3, 4] = math.inf, math.nan, 1e6
    cost[0, 1, :20] = cost[2, :3, 30] = math.inf  # more than one step has nothing, then there is something
    supply, demand = torch.rand(3, 5) * 4, torch.rand(3, 41)
    demand *= supply.sum(1, keepdim=True) / demand.sum(1, keepdim=True)
    args = (cost, supply, demand, 0.1, 12, tolerance)
    plan = kernel("sinkhorn")(*args)
    torch.testing.assert_close(plan, by_cpp("sinkhorn", *args), rtol=1e-5, atol=1e-7)
    never = by_cpp("sinkhorn", *args[:5], 0.0)
    assert torch.allclose(plan[0], never[0], rtol=1e-4) == (not tolerance)  # this one stops
    assert torch.allclose(plan[1], never[1], rtol=1e-5) == (tolerance < 1)  # and this one does not, but for 1000


@each_triton
@pytest.mark.parametrize("capacity", [0, 12, 40, 10**6])
def test_rows_whose_pairs_are_not_listed(kernel, capacity, monkeypatch):
    """No row's, the first ones', one of two far rows', and all; by small steps."""
    scene = random_scene([4], size=32, seed=6, pad=0)
    scene.gt_boxes[0, 0] = torch.tensor([10.0, 12, 14, 14])
    scene.gt_boxes[0, 1] = torch.tensor([17.0, 9, 1, 1])
    scene.gt_boxes[0, 2] = torch.tensor([12.0, 12, 16, 13])
    scene.gt_boxes[0, 3] = torch.tensor([50.0, 8, 3, 3])
    scene.pred_boxes[0, ::2], scene.pred_boxes[0, 1::4] = scene.gt_boxes[0, 2], scene.gt_boxes[0, 0]
    module = importlib.import_module("yolox_ops.triton.ota")
    sizes = {"ROWS": 1, "ROW_PAIRS": 4, "COLUMNS": 16, "COLUMN_PAIRS": 1, "BLOCK": 16, "TILE": 16}
    for name, size in sizes.items():
        monkeypatch.setattr(module, name, size)
    monkeypatch.setattr(module, "count_listed_pairs", lambda G, N: capacity)
    crowd = random_scene([5], size=32, pad=0)  # whose ground truths compete for the same anchors, down to the last one
    crowd.gt_boxes[0] = torch.tensor([14.0, 14, 12, 12]) + torch.rand(5, 4) * 4
    crowd.pred_boxes[0] = crowd.gt_boxes[0, torch.randint(5, (21,))] + torch.rand(21, 4)
    for images in (scene, crowd):
        check_equals_cpp(kernel, "ota", *images, 2.5, 20, 1.5, 0.1, 3, 0.0, 0.25, 2.0)
