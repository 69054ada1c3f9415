"""ota in Triton: the pairs of every image by ground truth and by anchor, then a program an image for all iterations of
its transport, then who has which anchor."""

from typing import Any

import torch
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.ops.ota import check
from yolox_ops.scene import Scene
from yolox_ops.triton.batch import choose_arithmetic, make_dense
from yolox_ops.triton.launch import bits_of, blocks, launch, narrow
from yolox_ops.triton.matching import BLOCK, NOBODY, TILE
from yolox_ops.triton.ota_decode import decode
from yolox_ops.triton.ota_pairs import OtaBatch, OtaNumbers, count_pairs
from yolox_ops.triton.ota_plan import Plan
from yolox_ops.triton.ota_rows import list_pairs
from yolox_ops.triton.ota_solve import solve
from yolox_ops.triton.scores import Rule

# Steps of a transport: rows or columns side by side, and pairs of each.
ROWS, ROW_PAIRS = 32, 32
COLUMNS, COLUMN_PAIRS = 256, 4


def count_listed_pairs(G: int, N: int) -> int:
    """How many pairs of an image are listed: those of a region of up to three levels, and eight far rows."""
    return min(G * N, 8 * N + 128 * G)


def ota(*scene_and_rule: Any) -> tuple[Tensor, Tensor, Tensor]:
    check(*scene_and_rule)
    scene = Scene(*scene_and_rule[:8])
    center_radius, topk, iou_weight, epsilon, iterations, tolerance, focal_alpha, focal_gamma = scene_and_rule[8:]
    pred_boxes = scene.pred_boxes
    (B, N, C), G = scene.cls_logits.shape, scene.gt_boxes.shape[1]
    matched_gt = pred_boxes.new_full((B, N), NOBODY.value, dtype=torch.int64)
    matched_iou = pred_boxes.new_zeros((B, N), dtype=torch.float32)
    num_fg = pred_boxes.new_zeros(B, dtype=torch.int64)
    if B * G * N == 0:
        return matched_gt, matched_iou, num_fg
    capacity = count_listed_pairs(G, N)

    def integers(size: int, value: int = 0) -> Tensor:
        return pred_boxes.new_full((size,), value, dtype=torch.int64)

    def floats(size: int) -> Tensor:
        return pred_boxes.new_zeros(size, dtype=torch.float64)

    sizes = integers(B * G)
    batch = OtaBatch(
        *make_dense(scene),
        row_gt=integers(B * G),
        row_begin=integers(B * G, -1),
        row_size=integers(B * G),
        row_supply=floats(B * G),
        pair_anchor=integers(B * capacity, B * (N + 1)),
        pair_row=integers(B * capacity),
        pair_cost=floats(B * capacity),
    )
    rule = Rule(**choose_arithmetic(pred_boxes), has_obj=scene.obj_logits is not None, candidates="box_and_center")
    dtype = wide_dtype(pred_boxes)
    numbers = OtaNumbers(
        center_radius=bits_of(narrow(center_radius, dtype), dtype),
        iou_weight=bits_of(iou_weight, dtype),
        focal_alpha=bits_of(focal_alpha, dtype),
        focal_gamma=bits_of(focal_gamma, dtype),
        per_epsilon=1 / epsilon,
    )
    args = (batch, *scene.cls_logits.stride(), N, C, G, *numbers)
    launch(count_pairs, B * G, sizes, *args, RULE=rule, BLOCK=BLOCK, num_warps=8)
    launch(list_pairs, B * G, sizes, *args, capacity, min(topk, N), RULE=rule, BLOCK=BLOCK, num_warps=8)
    anchors, order = torch.sort(batch.pair_anchor, stable=True)
    plan = Plan(
        begin=torch.searchsorted(anchors, torch.arange(B * (N + 1) + 1, device=anchors.device)),
        rows=batch.pair_row[order],
        costs=batch.pair_cost[order],
        columns=integers(B * N),
        x=floats(B * G),
        y=floats(B * (N + 1)),
        top=floats(B * G),
        background_top=floats(B),
        counts=integers(B * 3),
    )
    shapes = {
        "ROWS": ROWS,
        "ROW_PAIRS": ROW_PAIRS,
        "COLUMNS": COLUMNS,
        "COLUMN_PAIRS": COLUMN_PAIRS,
        "BLOCK": BLOCK,
    }
    launch(solve, B, sizes, *args, plan, iterations, tolerance, RULE=rule, num_warps=8, **shapes)
    launch(decode, B * blocks(N, TILE), matched_gt, *args, plan, matched_iou, num_fg, RULE=rule, TILE=TILE)
    return matched_gt, matched_iou, num_fg
