"""Problems of sinkhorn, how ota's tests call it, and when its answer counts as right."""

import torch
from scenes import take_image
from torch.testing import assert_close

from python_ref.exactness import check_transport
from python_ref.ota import ota_problem
from yolox_ops import Assignment, Scene

RULES = [
    {},
    {"center_radius": 1.0, "topk": 3, "iou_weight": 5.0},
    {"epsilon": 20.0, "iterations": 7, "focal_alpha": 0.6, "focal_gamma": 0.5},
    {"epsilon": 0.01, "iterations": 1, "focal_gamma": 0.0},
    {"center_radius": 20.0, "topk": 500, "iterations": 70},
    {"tolerance": 0.05, "iterations": 1000},
]
PROBLEM = ("center_radius", "topk", "iou_weight", "focal_alpha", "focal_gamma")


def problem(B=2, M=5, N=33, scale=1.0, seed=0):
    """cost, supply and demand of sinkhorn, whose totals differ."""
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(B, M, N, generator=generator) * scale
    return cost, torch.rand(B, M, generator=generator) * 4, torch.rand(B, N, generator=generator) + 0.3


def by_scene(run):
    """ota, or one implementation of it, as a function of a Scene."""

    def of_scene(scene: Scene, **rule) -> Assignment:
        pred_boxes, cls_logits, obj_logits, *rest = scene
        return run(pred_boxes, cls_logits, *rest, obj_logits=obj_logits, **rule)

    return of_scene


def without_objectness(scene: Scene) -> tuple:
    """The positional arguments of ota."""
    assert scene.obj_logits is None
    return (scene.pred_boxes, scene.cls_logits, *scene[3:])


def check_against_reference(result: Assignment, scene: Scene, **rule) -> int:
    """Every image of the result against python_ref; returns how many anchors used the allowance for rounding."""
    used = 0
    for b in range(len(scene.pred_boxes)):
        image = take_image(scene, b)
        matched_gt = result.matched_gt[b].tolist()
        assert result.num_fg[b] == sum(gt >= 0 for gt in matched_gt)
        cost, totals, iou = ota_problem(*image, **{k: v for k, v in rule.items() if k in PROBLEM})
        used += check_transport(matched_gt, cost, totals, **{k: v for k, v in rule.items() if k not in PROBLEM})
        expected = [0.0 if gt < 0 else iou[gt][j] for j, gt in enumerate(matched_gt)]
        assert_close(result.matched_iou[b], torch.tensor(expected), rtol=1e-6, atol=1e-6)
    return used
