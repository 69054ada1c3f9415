"""simota in Triton, in four launches: the two that find candidates (candidates.py); one in which a warp has a ground
truth, goes over the candidates of its image once for their overlaps and once for their costs, and claims those that it
prefers; and one that settles claims, a tile of anchors to a warp. The third is bound by the latency of the image that
has most candidates: modelled for an H200, 25 us of 35 for a batch of 16, its pipes 5.5; 27 us of 52 for one of 64."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops.ops.simota import check
from yolox_ops.scene import Scene
from yolox_ops.triton.batch import NUMBERS, Image, load_gt, load_overlaps
from yolox_ops.triton.candidates import launch_candidates, load_costs, load_slot_overlaps
from yolox_ops.triton.launch import blocks, launch
from yolox_ops.triton.matching import (
    count_gts,
    locate_tile,
    read_owner,
    settle_conflicts,
    store_match,
    take_preferred,
)
from yolox_ops.triton.scores import read_numbers

# Candidates that a ground truth looks at in one step, and anchors of a program that settles claims.
BLOCK = 128
SETTLED = 64


@triton.jit
def read_columns(image, first, BLOCK: tl.constexpr):
    slot = first + tl.arange(0, BLOCK)
    return slot, slot < tl.load(image.batch.candidate_counts + image.b)


@triton.jit
def read_overlaps(image, g, slot, mask, RULE: tl.constexpr):
    return tl.where(mask, load_slot_overlaps(image, g, slot, mask, RULE), 0.0)


@triton.jit
def read_costs(image, g, slot, mask, RULE: tl.constexpr):
    cost, _overlap, j = load_costs(image, g, slot, mask, RULE)
    return cost, j


@triton.jit
def read_costs_of_anchor(image, g, j, mask, RULE: tl.constexpr):
    slot = tl.load(image.batch.slots + image.b * image.N + j)
    cost, _overlap, _j = load_costs(image, g, slot + tl.zeros_like(g), mask, RULE)
    return cost


@triton.jit(do_not_specialize=[*NUMBERS, "topk"])
def take_anchors(
    claims,  # [B, N], none before
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
    topk,
    K_ROUNDING: tl.constexpr,
    RULE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One ground truth of one image."""
    program = tl.program_id(0).to(tl.int64)
    b, g = program // G, program % G
    numbers = read_numbers(center_radius, outside_penalty, cls_weight, iou_weight, iou_eps, RULE)
    image = Image(batch, cls_image_stride, cls_anchor_stride, cls_class_stride, N, C, G, b, numbers)
    _gt, _label, present = load_gt(image, g, RULE)
    if present:
        size = tl.load(batch.candidate_counts + b)
        take_preferred(
            claims + b * N, image, g, size, topk, read_columns, read_overlaps, read_costs, K_ROUNDING, RULE, BLOCK
        )


@triton.jit(do_not_specialize=NUMBERS)
def settle_anchors(
    matched_gt,  # [B, N], claims before
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
    matched_iou,  # [B, N]
    num_fg,  # [B]
    RULE: tl.constexpr,
    TILE: tl.constexpr,
):
    """A tile of one image's anchors."""
    b, j = locate_tile(N, TILE)
    numbers = read_numbers(center_radius, outside_penalty, cls_weight, iou_weight, iou_eps, RULE)
    image = Image(batch, cls_image_stride, cls_anchor_stride, cls_class_stride, N, C, G, b, numbers)
    owner = read_owner(tl.load(matched_gt + b * N + j, j < N, 0))
    owner = settle_conflicts(image, count_gts(batch.num_gts, b, G), j, owner, read_costs_of_anchor, RULE)
    overlap = load_overlaps(image, owner, j, owner >= 0, RULE)
    store_match(matched_gt, matched_iou, num_fg, b, N, j, owner, overlap)


def simota(*scene_and_rule: Any) -> tuple[Tensor, Tensor, Tensor]:
    check(*scene_and_rule)
    scene = Scene(*scene_and_rule[:8])
    *cost_rule, topk, k_rounding = scene_and_rule[8:]
    pred_boxes = scene.pred_boxes
    (B, N, _), G = pred_boxes.shape, scene.gt_boxes.shape[1]
    matched_gt = pred_boxes.new_empty((B, N), dtype=torch.int64)
    matched_iou = pred_boxes.new_empty((B, N), dtype=torch.float32)
    num_fg = pred_boxes.new_zeros(B, dtype=torch.int64)
    args, rule = launch_candidates(scene, matched_gt, *cost_rule)
    launch(
        take_anchors, B * G, matched_gt, *args, min(topk, N), K_ROUNDING=k_rounding, RULE=rule, BLOCK=BLOCK, num_warps=1
    )
    tiles = B * blocks(N, SETTLED)
    launch(settle_anchors, tiles, matched_gt, *args, matched_iou, num_fg, RULE=rule, TILE=SETTLED, num_warps=1)
    return matched_gt, matched_iou, num_fg
