"""simota_cost in Triton: the candidates of every image, then every pair."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.ops.simota_cost import check
from yolox_ops.scene import Scene
from yolox_ops.triton.batch import NUMBERS, Image
from yolox_ops.triton.candidates import launch_candidates, load_costs
from yolox_ops.triton.launch import blocks, launch
from yolox_ops.triton.matching import NO_CANDIDATE, NOBODY, TILE, locate_tile
from yolox_ops.triton.scores import read_numbers


@triton.jit(do_not_specialize=NUMBERS)
def fill_row(
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
    out_cost,  # [B, G, N]
    out_iou,  # [B, G, N]
    RULE: tl.constexpr,
    TILE: tl.constexpr,
):
    """A tile of the row of one ground truth."""
    row, j = locate_tile(N, TILE)
    b, g = row // G, row % G
    numbers = read_numbers(center_radius, outside_penalty, cls_weight, iou_weight, iou_eps, RULE)
    image = Image(batch, cls_image_stride, cls_anchor_stride, cls_class_stride, N, C, G, b, numbers)
    candidate = tl.load(owner + b * N + j, j < N, NO_CANDIDATE) == NOBODY
    cost, overlap = load_costs(image, g, j, candidate, RULE)
    tl.store(out_cost + row * N + j, cost, j < N)
    tl.store(out_iou + row * N + j, tl.where(overlap == overlap, overlap, 0.0), j < N)


def simota_cost(*scene_and_rule: Any) -> tuple[Tensor, Tensor]:
    check(*scene_and_rule)
    scene = Scene(*scene_and_rule[:8])
    pred_boxes = scene.pred_boxes
    (B, N, _), G = pred_boxes.shape, scene.gt_boxes.shape[1]
    cost = pred_boxes.new_empty((B, G, N), dtype=torch.float64)
    overlap = pred_boxes.new_empty((B, G, N), dtype=wide_dtype(pred_boxes))
    owner = pred_boxes.new_empty((B, N), dtype=torch.int64)
    args, rule = launch_candidates(owner, scene, *scene_and_rule[8:])
    launch(fill_row, B * G * blocks(N, TILE), owner, *args, cost, overlap, RULE=rule, TILE=TILE)
    return cost, overlap
