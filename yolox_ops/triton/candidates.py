"""Candidates of a batch, and the cost of their pairs: what simota_cost and simota share, and in part ota."""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.triton.boxes import iou, is_whole, load_box, load_numbers
from yolox_ops.triton.launch import INTERPRETED, blocks, launch
from yolox_ops.triton.matching import GTS, NO_CANDIDATE, NOBODY, count_gts
from yolox_ops.triton.numeric import exp_scaled
from yolox_ops.triton.scores import Rule, pair_cost, softplus_of_minus, sum_negatives

# Anchors of a program that looks for candidates.
TILE = 4096 if INTERPRETED else 32

INNER_MARGIN = tl.constexpr(0.01)  # pixels

# The numbers that kernels take beside a Scene. None becomes a constant where it is 1, for a tuple that holds constants
# does not survive a loop.
NUMBERS = ["cls_image", "cls_anchor", "cls_class", "N", "C", "G"]


class Scene(NamedTuple):
    """The tensors of a batch; pointers, to kernels. All are dense but cls_logits."""

    pred_boxes: Tensor
    cls_logits: Tensor
    obj_logits: Tensor
    anchor_points: Tensor
    strides: Tensor
    gt_boxes: Tensor
    gt_labels: Tensor
    num_gts: Tensor
    scores: Tensor  # [B, N, 3], of candidates: sum over classes of -log(1 - p), e^-o 2^shift, log(1 + e^-o)
    candidates: Tensor  # [B, N], the anchors of an image that are candidates, in any order
    sizes: Tensor  # [B], how many there are


@triton.jit
def load_gt(scene, b, g, C, G, RULE: tl.constexpr):
    """Centre and size, label, and whether there is such a ground truth: padding, a row with a NaN and one whose label
    is no class are none. Their label is 0, for it to point at something. `g` is one row or many."""
    at = b * G + g
    cx, cy, w, h = load_numbers(scene.gt_boxes, at * 4, g < G, RULE.dtype)
    label = tl.load(scene.gt_labels + at, g < G, 0).to(tl.int64)
    present = (g < count_gts(scene.num_gts, b, G)) & is_whole(cx, cy, w, h) & (label >= 0) & (label < C)
    return (cx, cy, w, h), tl.where(present, label, 0), present


@triton.jit
def load_anchors(scene, j, mask, RULE: tl.constexpr):
    """Centres, and how far from one the centre of a ground truth may be."""
    x = tl.load(scene.anchor_points + j * 2, mask, 0.0).to(RULE.dtype)
    y = tl.load(scene.anchor_points + j * 2 + 1, mask, 0.0).to(RULE.dtype)
    if RULE.candidates == "all":
        reach = tl.full(x.shape, RULE.center_radius, RULE.dtype)
    else:
        reach = tl.load(scene.strides + j, mask, 0.0).to(RULE.dtype) * RULE.center_radius
    return x, y, reach


@triton.jit
def place(anchors, gt, RULE: tl.constexpr):
    """Whether anchors are candidates because of this ground truth, and whether they pay no penalty for it."""
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


@triton.jit(do_not_specialize=NUMBERS)
def find_candidates(owner, scene, cls_image, cls_anchor, cls_class, N, C, G, RULE: tl.constexpr, TILE: tl.constexpr):
    """Which anchors of one image's tile are candidates, and their scores."""
    program = tl.program_id(0).to(tl.int64)
    b = program // tl.cdiv(N, TILE)
    j = program % tl.cdiv(N, TILE) * TILE + tl.arange(0, TILE)
    anchors = load_anchors(scene, j[:, None], (j < N)[:, None], RULE)
    found = tl.zeros((TILE,), tl.int32)
    gts = count_gts(scene.num_gts, b, G)
    first = tl.full((), 0, tl.int64)
    while first < gts:
        g = first + tl.arange(0, GTS)[None, :]
        gt, _label, present = load_gt(scene, b, g, C, G, RULE)
        near, _inside = place(anchors, gt, RULE)
        found |= tl.max((near & present).to(tl.int32), 1)
        first += GTS
    candidate = (found > 0) & (j < N)
    at = b * N + j
    tl.store(owner + at, tl.where(candidate, NOBODY, NO_CANDIDATE), j < N)
    rank = tl.cumsum(candidate.to(tl.int32), 0)
    count = tl.max(rank, 0)
    if count > 0:
        # Programs append in any order, on which nothing depends that is chosen among candidates later.
        begin = tl.atomic_add(scene.sizes + b, count)
        tl.store(scene.candidates + b * N + (begin + rank - 1), j.to(tl.int32), candidate)
        if RULE.has_obj:
            obj = tl.load(scene.obj_logits + at, candidate, 0.0).to(RULE.dtype)
        else:
            obj = tl.zeros((TILE,), RULE.dtype)
        obj_exp = exp_scaled(-obj, RULE.shift)
        rows = scene.cls_logits + b * cls_image + j * cls_anchor
        tl.store(scene.scores + at * 3, sum_negatives(rows, cls_class, candidate, C, obj_exp, RULE), candidate)
        tl.store(scene.scores + at * 3 + 1, obj_exp.to(tl.float64), candidate)
        tl.store(scene.scores + at * 3 + 2, softplus_of_minus(obj).to(tl.float64), candidate)


# Below, `matrix` is one image's (scene, cls_image, cls_anchor, cls_class, b, N, C, G); see matching.py.
@triton.jit
def load_overlaps(matrix, g, j, mask, RULE: tl.constexpr):
    """IoU of ground truth g, one or one for each anchor, with the predictions of anchors j."""
    scene, _image, _anchor, _class, b, N, _C, G = matrix
    gt_boxes = load_box(scene.gt_boxes, (b * G + g) * 4, (g >= 0) & (g < G), "cxcywh", RULE.dtype)
    return iou(gt_boxes, load_box(scene.pred_boxes, (b * N + j) * 4, mask, "cxcywh", RULE.dtype))


@triton.jit
def load_costs(matrix, g, j, mask, RULE: tl.constexpr):
    """Cost and IoU of ground truth g with candidates j; +inf and 0 where masked out or if there is none such."""
    scene, cls_image, cls_anchor, cls_class, b, N, C, G = matrix
    gt, label, present = load_gt(scene, b, g, C, G, RULE)
    overlap = load_overlaps(matrix, g, j, mask, RULE)
    logits = scene.cls_logits + b * cls_image + j * cls_anchor + label * cls_class
    at = scene.scores + (b * N + j) * 3
    negatives, obj_exp, obj_softplus = tl.load(at, mask, 0.0), tl.load(at + 1, mask, 0.0), tl.load(at + 2, mask, 0.0)
    score = (negatives, obj_exp.to(RULE.dtype), obj_softplus.to(RULE.dtype))
    cost = pair_cost(overlap, tl.load(logits, mask, 0.0).to(RULE.dtype), score, RULE).to(tl.float64)
    _candidate, inside = place(load_anchors(scene, j, mask, RULE), gt, RULE)
    cost = tl.where(inside, cost, cost + RULE.outside_penalty)
    cost, overlap = tl.where(mask, cost, float("inf")), tl.where(mask, overlap, 0.0)
    return tl.where(present, cost, float("inf")), tl.where(present, overlap, 0.0)


def dense_scene(
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor | None,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of a batch as kernels read them, which is by these names."""
    if num_gts is None:
        num_gts = gt_labels.new_full((len(gt_labels),), gt_labels.shape[1], dtype=torch.int64)
    return (
        pred_boxes.contiguous(),
        cls_logits,
        cls_logits if obj_logits is None else obj_logits.contiguous(),
        anchor_points.contiguous(),
        strides.contiguous(),
        gt_boxes.contiguous(),
        gt_labels.contiguous(),
        num_gts.contiguous(),
    )


def arithmetic(pred_boxes: Tensor) -> dict[str, Any]:
    """The fields `dtype` and `shift` of a rule."""
    is_wide = wide_dtype(pred_boxes) == torch.float64
    return {"dtype": tl.float64 if is_wide else tl.float32, "shift": 0 if is_wide else 42}


def launch_candidates(
    owner: Tensor,
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor | None,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None,
    center_radius: float,
    candidates: str,
    outside_penalty: float,
    cls_weight: float,
    iou_weight: float,
    iou_eps: float,
) -> tuple[tuple, Rule]:
    """Fills `owner` [B, N] and what kernels are called with from then on: the scene with its numbers, and the rule."""
    B, N, C = cls_logits.shape
    G = gt_boxes.shape[1]
    tensors = (pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts)
    scene = Scene(
        *dense_scene(*tensors),
        scores=pred_boxes.new_empty((B, N, 3), dtype=torch.float64),
        candidates=pred_boxes.new_empty((B, N), dtype=torch.int32),
        sizes=pred_boxes.new_zeros(B, dtype=torch.int32),
    )
    rule = Rule(
        **arithmetic(pred_boxes),
        has_obj=obj_logits is not None,
        candidates=candidates,
        center_radius=center_radius,
        outside_penalty=outside_penalty,
        cls_weight=cls_weight,
        iou_weight=iou_weight,
        iou_eps=iou_eps,
    )
    args = (scene, *cls_logits.stride(), N, C, G)
    launch(find_candidates, B * blocks(N, TILE), owner, *args, RULE=rule, TILE=TILE)
    return args, rule
