"""simota_cost in Triton, in three launches: the two that find candidates (candidates.py), and one in which a program
has the row of a ground truth. It writes what a row is outside of candidates, then over it the pairs with these. Bound
by its stores of 12 bytes a pair: modelled for an H200, 17 us for 16 images of 49 rows and 8400 anchors, and as long for
nothing but their bytes."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.ops.simota_cost import check
from yolox_ops.scene import Scene
from yolox_ops.triton.batch import NUMBERS, Image, load_gt
from yolox_ops.triton.candidates import launch_candidates, load_costs
from yolox_ops.triton.launch import launch
from yolox_ops.triton.scores import read_numbers

# Anchors of a row that a program writes at once, and candidates.
WRITTEN = 1024
BLOCK = 128


@triton.jit(do_not_specialize=NUMBERS)
def fill_row(
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
    WRITTEN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The row of one ground truth."""
    row = tl.program_id(0).to(tl.int64)
    b, g = row // G, row % G
    numbers = read_numbers(center_radius, outside_penalty, cls_weight, iou_weight, iou_eps, RULE)
    image = Image(batch, cls_image_stride, cls_anchor_stride, cls_class_stride, N, C, G, b, numbers)
    out_cost += row * N
    out_iou += row * N
    first = tl.full((), 0, tl.int32)
    while first < N:
        j = first + tl.arange(0, WRITTEN)
        tl.store(out_cost + j, float("inf"), j < N)
        tl.store(out_iou + j, 0.0, j < N)
        first += WRITTEN
    tl.debug_barrier()  # until all of the row is written
    _gt, _label, present = load_gt(image, g, RULE)
    count = tl.where(present, tl.load(batch.candidate_counts + b), 0)
    first = tl.full((), 0, tl.int32)
    while first < count:
        slot = first + tl.arange(0, BLOCK)
        cost, overlap, j = load_costs(image, g, slot, slot < count, RULE)
        tl.store(out_cost + j, cost, slot < count)
        tl.store(out_iou + j, tl.where(overlap == overlap, overlap, 0.0), slot < count)
        first += BLOCK


def simota_cost(*scene_and_rule: Any) -> tuple[Tensor, Tensor]:
    check(*scene_and_rule)
    scene = Scene(*scene_and_rule[:8])
    pred_boxes = scene.pred_boxes
    (B, N, _), G = pred_boxes.shape, scene.gt_boxes.shape[1]
    cost = pred_boxes.new_empty((B, G, N), dtype=torch.float64)
    overlap = pred_boxes.new_empty((B, G, N), dtype=wide_dtype(pred_boxes))
    args, rule = launch_candidates(scene, None, *scene_and_rule[8:])
    launch(fill_row, B * G, *args, cost, overlap, RULE=rule, WRITTEN=WRITTEN, BLOCK=BLOCK)
    return cost, overlap
