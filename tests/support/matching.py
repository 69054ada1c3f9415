"""Rules to assign by, and when an assignment counts as right."""

import torch
from scenes import take_image
from torch.testing import assert_close

from python_ref.exactness import check_matching
from python_ref.simota_cost import simota_cost as reference_cost
from yolox_ops import Scene
from yolox_ops.yolox import anchor_grid

RULES = [
    {},
    {"center_radius": 2.5, "candidates": "box_or_center", "outside_penalty": 1e5},
    {"candidates": "all", "center_radius": 25.0, "outside_penalty": 1e5, "topk": 20, "k_rounding": "nearest"},
    {"topk": 3, "cls_weight": 0.5, "iou_weight": 1.0, "iou_eps": 1e-3},
    {"topk": 500, "outside_penalty": 2.0, "center_radius": 1.0},
    {"outside_penalty": 0.0},
    {"topk": 4, "k_rounding": "nearest"},
    # Costs are negative: a penalised pair may win.
    {"outside_penalty": 1.0, "cls_weight": 0.0, "iou_weight": 10.0, "iou_eps": 1.0},
]


def check_against_reference(result, scene: Scene, **rule) -> int:
    """Every image of the result against python_ref; returns how many anchors used the allowance for rounding."""
    topk, k_rounding = rule.pop("topk", 10), rule.pop("k_rounding", "down")
    used = 0
    for b in range(len(scene.pred_boxes)):
        image = take_image(scene, b)
        matched_gt = result.matched_gt[b].tolist()
        assert result.num_fg[b] == sum(gt >= 0 for gt in matched_gt)
        if not image[5]:
            assert set(matched_gt) <= {-1}
            continue
        cost, iou = reference_cost(*image, **rule)
        used += check_matching(matched_gt, cost, iou, topk, rule.get("outside_penalty", 1e6), k_rounding)
        expected = [0.0 if gt < 0 else iou[gt][j] for j, gt in enumerate(matched_gt)]
        assert_close(result.matched_iou[b], torch.tensor(expected), rtol=1e-6, atol=1e-6)
    return used


def tensors(scene: Scene, change) -> Scene:
    return Scene(*(None if t is None else change(t) for t in scene))


def one_gt(gt, size=64):
    """A scene of one ground truth in which every anchor predicts that box, with equal logits: all costs are equal."""
    points, strides = anchor_grid(size, size)
    N = len(points)
    pred = torch.tensor(gt, dtype=torch.float32).expand(1, N, 4)
    boxes = torch.tensor([[gt]], dtype=torch.float32)
    labels = torch.zeros(1, 1, dtype=torch.long)
    return Scene(pred, torch.zeros(1, N, 1), torch.zeros(1, N), points, strides, boxes, labels, None)


def check_golden(result) -> None:
    fg = result.fg_mask[0].nonzero().flatten()
    assert fg.tolist() == [17, 18, 19, 26, 27, 70, 71, 74]
    assert result.matched_gt[0, fg].tolist() == [0, 0, 2, 0, 2, 1, 1, 1]
    expected = torch.tensor([0.43159, 0.70487, 0.64876, 0.39351, 0.67045, 0.56735, 0.42287, 0.47765])
    assert_close(result.matched_iou[0, fg], expected, rtol=0, atol=1e-5)
    assert result.num_fg.tolist() == [8]
