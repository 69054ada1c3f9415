"""simota in Triton: the candidates of every image, what each ground truth takes of them, and who keeps what."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops.ops.simota import check
from yolox_ops.scene import Scene
from yolox_ops.triton.batch import NUMBERS, Image, load_gt, load_overlaps
from yolox_ops.triton.candidates import launch_candidates, load_costs
from yolox_ops.triton.launch import blocks, launch
from yolox_ops.triton.matching import (
    BLOCK,
    NOBODY,
    TILE,
    count_gts,
    locate_tile,
    settle_conflicts,
    store_match,
    take_preferred,
)
from yolox_ops.triton.scores import read_numbers


@triton.jit
def read_columns(image, first, BLOCK: tl.constexpr):
    slot = first + tl.arange(0, BLOCK)
    there = slot < tl.load(image.batch.candidate_counts + image.b)
    return tl.load(image.batch.candidates + image.b * image.N + slot, there, 0).to(tl.int64), there


@triton.jit
def read_overlaps(image, g, j, mask, RULE: tl.constexpr):
    return tl.where(mask, load_overlaps(image, g, j, mask, RULE), 0.0)


@triton.jit
def read_costs(image, g, j, mask, RULE: tl.constexpr):
    cost, _overlap = load_costs(image, g, j, mask, RULE)
    return cost


@triton.jit(do_not_specialize=[*NUMBERS, "topk"])
def take_anchors(
    matched_gt,  # [B, N], NOBODY or NO_CANDIDATE before
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
        owner = matched_gt + b * N
        size = tl.load(batch.candidate_counts + b)
        take_preferred(owner, image, g, size, topk, read_columns, read_overlaps, read_costs, K_ROUNDING, RULE, BLOCK)


@triton.jit(do_not_specialize=NUMBERS)
def settle_anchors(
    matched_gt,  # [B, N]
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
    owner = tl.load(matched_gt + b * N + j, j < N, NOBODY)
    owner = settle_conflicts(image, count_gts(batch.num_gts, b, G), j, owner, read_costs, RULE)
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
    args, rule = launch_candidates(matched_gt, scene, *cost_rule)
    choice = {"K_ROUNDING": k_rounding, "RULE": rule}
    launch(take_anchors, B * G, matched_gt, *args, min(topk, N), **choice, BLOCK=BLOCK, num_warps=8)
    launch(settle_anchors, B * blocks(N, TILE), matched_gt, *args, matched_iou, num_fg, RULE=rule, TILE=TILE)
    return matched_gt, matched_iou, num_fg
