"""Candidates of a batch, and the cost of their pairs: what simota_cost and simota share, and in part ota."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.scene import Scene
from yolox_ops.triton.batch import (
    NUMBERS,
    Batch,
    Image,
    choose_arithmetic,
    load_anchors,
    load_gt,
    load_overlaps,
    make_dense,
    point_at_logits,
)
from yolox_ops.triton.launch import bits_of, blocks, launch, narrow
from yolox_ops.triton.matching import GTS, NO_CANDIDATE, NOBODY, count_gts, locate_tile
from yolox_ops.triton.numeric import exp_scaled
from yolox_ops.triton.scores import Numbers, Rule, pair_cost, read_numbers, softplus_of_minus, sum_negatives

# Anchors of a program that looks for candidates.
TILE = 32

INNER_MARGIN = tl.constexpr(0.01)  # pixels


@triton.jit
def classify_anchor(anchors, gt, RULE: tl.constexpr):
    """Whether anchors are candidates because of this ground truth, and whether they are inside: free of the penalty."""
    x, y, reach = anchors
    cx, cy, w, h = gt
    if RULE.candidates == "all":
        square = (x - cx) * (x - cx) + (y - cy) * (y - cy)
        return square == square, square <= reach * reach
    center = (x > cx - reach) & (x < cx + reach) & (y > cy - reach) & (y < cy + reach)
    half_w, half_h = w * 0.5, h * 0.5
    if RULE.candidates == "box_and_center":
        inner = (x - (cx - half_w) > INNER_MARGIN) & (cx + half_w - x > INNER_MARGIN)
        inner &= (y - (cy - half_h) > INNER_MARGIN) & (cy + half_h - y > INNER_MARGIN)
        return center & inner, center & inner
    elif RULE.candidates == "box_or_center":
        box = (x > cx - half_w) & (x < cx + half_w) & (y > cy - half_h) & (y < cy + half_h)
        return center | box, center & box
    else:
        return center, center


@triton.jit
def is_candidate(image, j, mask, RULE: tl.constexpr):
    """Whether anchors j are candidates because of any ground truth of the image."""
    anchors = load_anchors(image, j[:, None], mask[:, None], RULE)
    found = tl.zeros(j.shape, tl.int32)
    gts = count_gts(image.batch.num_gts, image.b, image.G)
    first = tl.full((), 0, tl.int64)
    while first < gts:
        gt, _label, present = load_gt(image, first + tl.arange(0, GTS)[None, :], RULE)
        candidate, _inside = classify_anchor(anchors, gt, RULE)
        found |= tl.max((candidate & present).to(tl.int32), 1)
        first += GTS
    return (found > 0) & mask


@triton.jit
def store_scores(image, j, mask, RULE: tl.constexpr):
    """What the costs of anchors j have in common, whatever the ground truth."""
    batch = image.batch
    anchor = image.b * image.N + j
    if RULE.has_obj:
        obj = tl.load(batch.obj_logits + anchor, mask, 0.0).to(RULE.dtype)
    else:
        obj = tl.zeros(j.shape, RULE.dtype)
    obj_exp = exp_scaled(-obj, RULE.shift)
    negatives = sum_negatives(point_at_logits(image, j), image.cls_class_stride, mask, image.C, obj_exp, RULE)
    tl.store(batch.scores + anchor * 3, negatives, mask)
    tl.store(batch.scores + anchor * 3 + 1, obj_exp.to(tl.float64), mask)
    tl.store(batch.scores + anchor * 3 + 2, softplus_of_minus(obj).to(tl.float64), mask)


@triton.jit
def load_scores(image, j, mask, RULE: tl.constexpr):
    score = image.batch.scores + (image.b * image.N + j) * 3
    negatives = tl.load(score, mask, 0.0)
    obj_exp, obj_softplus = tl.load(score + 1, mask, 0.0), tl.load(score + 2, mask, 0.0)
    return negatives, obj_exp.to(RULE.dtype), obj_softplus.to(RULE.dtype)


@triton.jit(do_not_specialize=NUMBERS)
def find_candidates(
    owner,  # [B, N]
    batch,
    cls_image_stride,
    cls_anchor_stride,
    cls_class_stride,
    N,
    C,
    G,
    center_radius: tl.int64,
    outside_penalty: tl.float64,
    cls_weight: tl.int64,
    iou_weight: tl.int64,
    iou_eps: tl.int64,
    RULE: tl.constexpr,
    TILE: tl.constexpr,
):
    """Which anchors of one image's tile are candidates, and their scores."""
    b, j = locate_tile(N, TILE)
    numbers = read_numbers(center_radius, outside_penalty, cls_weight, iou_weight, iou_eps, RULE)
    image = Image(batch, cls_image_stride, cls_anchor_stride, cls_class_stride, N, C, G, b, numbers)
    candidate = is_candidate(image, j, j < N, RULE)
    tl.store(owner + b * N + j, tl.where(candidate, NOBODY, NO_CANDIDATE), j < N)
    rank = tl.cumsum(candidate.to(tl.int32), 0)
    count = tl.max(rank, 0)
    if count > 0:
        # Programs append in any order, on which nothing depends that is chosen among candidates later.
        begin = tl.atomic_add(batch.candidate_counts + b, count)
        tl.store(batch.candidates + b * N + (begin + rank - 1), j.to(tl.int32), candidate)
        store_scores(image, j, candidate, RULE)


@triton.jit
def load_costs(image, g, j, mask, RULE: tl.constexpr):
    """Cost and IoU of ground truth g with candidates j; +inf and 0 where masked out or if there is none such."""
    gt, label, present = load_gt(image, g, RULE)
    overlap = load_overlaps(image, g, j, mask, RULE)
    logit = tl.load(point_at_logits(image, j) + label * image.cls_class_stride, mask, 0.0).to(RULE.dtype)
    cost = pair_cost(overlap, logit, load_scores(image, j, mask, RULE), image.numbers, RULE).to(tl.float64)
    _candidate, inside = classify_anchor(load_anchors(image, j, mask, RULE), gt, RULE)
    cost = tl.where(inside, cost, cost + image.numbers.outside_penalty)
    cost, overlap = tl.where(mask, cost, float("inf")), tl.where(mask, overlap, 0.0)
    return tl.where(present, cost, float("inf")), tl.where(present, overlap, 0.0)


def launch_candidates(
    owner: Tensor,  # [B, N]
    scene: Scene,
    center_radius: float,
    candidates: str,
    outside_penalty: float,
    cls_weight: float,
    iou_weight: float,
    iou_eps: float,
) -> tuple[tuple, Rule]:
    """Fills `owner` and what kernels are called with from then on: the batch with all numbers, and the rule."""
    pred_boxes = scene.pred_boxes
    (B, N, C), G = scene.cls_logits.shape, scene.gt_boxes.shape[1]
    batch = Batch(
        *make_dense(scene),
        scores=pred_boxes.new_empty((B, N, 3), dtype=torch.float64),
        candidates=pred_boxes.new_empty((B, N), dtype=torch.int32),
        candidate_counts=pred_boxes.new_zeros(B, dtype=torch.int32),
    )
    dtype = wide_dtype(pred_boxes)
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
    launch(find_candidates, B * blocks(N, TILE), owner, *args, RULE=rule, TILE=TILE)
    return args, rule
