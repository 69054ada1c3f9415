"""Candidates of a batch, and the cost of their pairs: what simota_cost and simota share, and in part ota.

Two launches find them: mark lists the candidates of every image with what their geometry needs, describe adds what the
costs of all their pairs have in common. Whoever comes after reads the list from its begin on, without the gaps that lie
between candidates among the anchors."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.scene import Scene
from yolox_ops.triton.batch import Batch, choose_arithmetic, load_gt, make_dense, point_at_logits
from yolox_ops.triton.boxes import iou, load_box
from yolox_ops.triton.describe import DESCRIBED, DESCRIBERS, describe
from yolox_ops.triton.launch import bits_of, blocks, launch, narrow
from yolox_ops.triton.mark import MARKED, classify_anchor, mark
from yolox_ops.triton.scores import SUMS, Numbers, Rule, pair_cost
from yolox_ops.triton.slots import TRAITS, load_anchor, load_place, load_score, load_slot_box


@triton.jit
def load_slot_overlaps(image, g, slot, mask, RULE: tl.constexpr):
    """IoU of ground truth g with candidates."""
    gt_box = load_box(image.batch.gt_boxes, (image.b * image.G + g) * 4, g < image.G, "cxcywh", RULE.dtype)
    return iou(gt_box, load_slot_box(image, slot, mask))


@triton.jit
def load_costs(image, g, slot, mask, RULE: tl.constexpr):
    """Cost and IoU of ground truth g with candidates, and which anchors these are; +inf and 0 where masked out or if
    there is no such ground truth. g is one or one for each slot."""
    gt, label, present = load_gt(image, g, RULE)
    j = load_anchor(image, slot, mask)
    overlap = load_slot_overlaps(image, g, slot, mask, RULE)
    logit = tl.load(point_at_logits(image, j) + label * image.cls_class_stride, mask, 0.0).to(RULE.dtype)
    cost = pair_cost(overlap, logit, load_score(image, slot, mask), image.numbers, RULE).to(tl.float64)
    _candidate, inside = classify_anchor(load_place(image, slot, mask), gt, RULE)
    cost = tl.where(inside, cost, cost + image.numbers.outside_penalty)
    exists = mask & present
    return tl.where(exists, cost, float("inf")), tl.where(exists, overlap, 0.0), j


def launch_candidates(
    scene: Scene,
    claims: Tensor | None,  # [B, N]
    center_radius: float,
    candidates: str,
    outside_penalty: float,
    cls_weight: float,
    iou_weight: float,
    iou_eps: float,
) -> tuple[tuple, Rule]:
    """Sets claims to none. Returns what kernels are called with from then on: the batch with all numbers, and the
    rule."""
    pred_boxes = scene.pred_boxes
    (B, N, C), G = scene.cls_logits.shape, scene.gt_boxes.shape[1]
    dtype = wide_dtype(pred_boxes)
    batch = Batch(
        *make_dense(scene),
        candidate_counts=pred_boxes.new_zeros(B, dtype=torch.int32),
        candidates=pred_boxes.new_empty((B, N), dtype=torch.int32),
        slots=pred_boxes.new_empty((B, N), dtype=torch.int32),
        traits=pred_boxes.new_empty((B, TRAITS.value, N), dtype=dtype),
        negatives=pred_boxes.new_empty((B, N), dtype=torch.float64),
        partial_sums=pred_boxes.new_empty((B * DESCRIBERS, DESCRIBED, SUMS.value), dtype=dtype),
    )
    rule = Rule(
        **choose_arithmetic(pred_boxes),
        has_obj=scene.obj_logits is not None,
        candidates=candidates,
    )
    numbers = Numbers(
        center_radius=bits_of(narrow(center_radius, dtype), dtype),
        outside_penalty=outside_penalty,
        cls_weight=bits_of(narrow(cls_weight, dtype), dtype),
        iou_weight=bits_of(narrow(iou_weight, dtype), dtype),
        iou_eps=bits_of(iou_eps, dtype),
    )
    args = (batch, *scene.cls_logits.stride(), N, C, G, *numbers)
    launch(mark, B * blocks(N, MARKED), *args, claims, RULE=rule, TILE=MARKED, num_warps=1)
    launch(describe, B * DESCRIBERS, *args, RULE=rule, DESCRIBERS=DESCRIBERS, DESCRIBED=DESCRIBED, num_warps=1)
    return args, rule
