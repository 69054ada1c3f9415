"""simota in Triton: the candidates of every image, what each ground truth takes of them, and who keeps what."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops.ops.simota import check
from yolox_ops.triton.candidates import NUMBERS, launch_candidates, load_costs, load_gt, load_overlaps
from yolox_ops.triton.launch import blocks, launch
from yolox_ops.triton.matching import BLOCK, NOBODY, TILE, count_gts, settle, store_match, take


@triton.jit
def columns(matrix, first, BLOCK: tl.constexpr):
    scene, _image, _anchor, _class, b, N, _C, _G = matrix
    place = first + tl.arange(0, BLOCK)
    there = place < tl.load(scene.sizes + b)
    return tl.load(scene.candidates + b * N + place, there, 0).to(tl.int64), there


@triton.jit
def overlaps(matrix, g, j, mask, RULE: tl.constexpr):
    return tl.where(mask, load_overlaps(matrix, g, j, mask, RULE), 0.0)


@triton.jit
def costs(matrix, g, j, mask, RULE: tl.constexpr):
    cost, _overlap = load_costs(matrix, g, j, mask, RULE)
    return cost


@triton.jit(do_not_specialize=[*NUMBERS, "topk"])
def match(
    matched_gt, scene, cls_image, cls_anchor, cls_class, N, C, G, topk,
    K_ROUNDING: tl.constexpr, RULE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One ground truth of one image."""
    program = tl.program_id(0).to(tl.int64)
    b, g = program // G, program % G
    _gt, _label, present = load_gt(scene, b, g, C, G, RULE)
    if present:
        matrix = (scene, cls_image, cls_anchor, cls_class, b, N, C, G)
        size = tl.load(scene.sizes + b)
        take(matched_gt + b * N, matrix, g, size, topk, columns, overlaps, costs, K_ROUNDING, RULE, BLOCK)


@triton.jit(do_not_specialize=NUMBERS)
def finish(
    matched_gt, scene, cls_image, cls_anchor, cls_class, N, C, G, matched_iou, num_fg,
    RULE: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """A tile of one image's anchors."""
    program = tl.program_id(0).to(tl.int64)
    b = program // tl.cdiv(N, TILE)
    j = program % tl.cdiv(N, TILE) * TILE + tl.arange(0, TILE)
    matrix = (scene, cls_image, cls_anchor, cls_class, b, N, C, G)
    owner = tl.load(matched_gt + b * N + j, j < N, NOBODY)
    owner = settle(matrix, count_gts(scene.num_gts, b, G), j, owner, costs, RULE)
    overlap = load_overlaps(matrix, owner, j, owner >= 0, RULE)
    store_match(matched_gt, matched_iou, num_fg, b, b * N + j, j < N, owner, overlap)


def simota(*scene_rule_and_k: Any) -> tuple[Tensor, Tensor, Tensor]:
    check(*scene_rule_and_k)
    *scene_and_rule, topk, k_rounding = scene_rule_and_k
    pred_boxes, gt_boxes = scene_and_rule[0], scene_and_rule[5]
    (B, N, _), G = pred_boxes.shape, gt_boxes.shape[1]
    matched_gt = pred_boxes.new_empty((B, N), dtype=torch.int64)
    matched_iou = pred_boxes.new_empty((B, N), dtype=torch.float32)
    num_fg = pred_boxes.new_zeros(B, dtype=torch.int64)
    args, rule = launch_candidates(matched_gt, *scene_and_rule)
    launch(match, B * G, matched_gt, *args, min(topk, N), K_ROUNDING=k_rounding, RULE=rule, BLOCK=BLOCK, num_warps=8)
    launch(finish, B * blocks(N, TILE), matched_gt, *args, matched_iou, num_fg, RULE=rule, TILE=TILE)
    return matched_gt, matched_iou, num_fg
