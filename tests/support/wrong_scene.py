"""A small scene in which everything is wrong that can be, for the tests of explain."""

import math

import torch
from matching import one_gt

from yolox_ops import Assignment


def crossed():
    """Two images of 64 x 64. In the first, ground truths 0 and 1 are one box twice; 2 lies outside; 3 has a label that
    is none; 4 a NaN. The second has only padding. Every anchor predicts the first box, with equal logits."""
    scene = one_gt([20.0, 20, 24, 24])
    boxes = torch.tensor([[20.0, 20, 24, 24], [20, 20, 24, 24], [900, 20, 8, 8], [40, 40, 9, 9], [math.nan, 9, 9, 9]])
    return scene._replace(
        pred_boxes=scene.pred_boxes.repeat(2, 1, 1),
        cls_logits=torch.zeros(2, 84, 2),
        obj_logits=torch.zeros(2, 84),
        gt_boxes=boxes.repeat(2, 1, 1),
        gt_labels=torch.tensor([[0, 0, 1, 2, 0]] * 2),
        num_gts=torch.tensor([5, 0]),
    )


def given(scene, rows):
    """The assignment {anchor: row} of image 0, as anybody might make it."""
    matched_gt = torch.full(scene.pred_boxes.shape[:2], -1)
    for anchor, row in rows.items():
        matched_gt[0, anchor] = row
    return Assignment(matched_gt, torch.where(matched_gt >= 0, 0.5, 0.0), (matched_gt >= 0).sum(1))
