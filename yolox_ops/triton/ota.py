"""ota in Triton: the pairs of every image by ground truth and by anchor, then a program an image for all iterations of
its transport, then who has which anchor."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops.ops.ota import check
from yolox_ops.triton.candidates import NUMBERS, arithmetic, dense_scene, load_overlaps
from yolox_ops.triton.launch import INTERPRETED, blocks, launch
from yolox_ops.triton.matching import BLOCK, NOBODY, TILE, store_match
from yolox_ops.triton.ota_pairs import OtaRule, Problem, count_pairs, list_pairs, load_pairs
from yolox_ops.triton.ota_plan import Plan, solve

# Steps of a transport: rows or columns side by side, and pairs of each.
ROWS, ROW_PAIRS = 32, 128 if INTERPRETED else 32
COLUMNS, COLUMN_PAIRS = 2048 if INTERPRETED else 256, 8 if INTERPRETED else 4


@triton.jit(do_not_specialize=NUMBERS)
def finish(
    matched_gt, problem, cls_image, cls_anchor, cls_class, N, C, G, plan, matched_iou, num_fg,
    RULE: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """A tile of one image's anchors goes where they have the largest share of a row's largest mass."""
    program = tl.program_id(0).to(tl.int64)
    b = program // tl.cdiv(N, TILE)
    j = program % tl.cdiv(N, TILE) * TILE + tl.arange(0, TILE)
    matrix = (problem, cls_image, cls_anchor, cls_class, b, N, C, G)
    anchor = b * (N + 1) + j
    near, listed = tl.load(plan.counts + b * 3), tl.load(plan.counts + b * 3 + 1)
    rows = tl.load(plan.counts + b * 3 + 2)
    begin = tl.load(plan.begin + anchor, j < N, 0)
    size = tl.load(plan.begin + anchor + 1, j < N, 0) - begin
    column = (j < N) & ((size > 0) | (listed < rows))
    y = tl.load(plan.y + anchor, column, 0.0)
    best, owner = tl.full((TILE,), 0.0, RULE.dtype), tl.full((TILE,), NOBODY, tl.int64)
    longest = tl.max(size, 0)
    step = tl.full((), 0, tl.int64)
    while step < longest:
        row = tl.load(plan.rows + begin + step, step < size, 0)
        scaled = tl.load(plan.costs + begin + step, step < size, float("inf"))
        share = tl.exp((y - scaled - tl.load(plan.top + row, step < size, 0.0)).to(RULE.dtype))
        g = tl.load(problem.row_gt + row, step < size, 0)
        better = (share > best) | ((share == best) & (g < owner))
        best, owner = tl.where(better, share, best), tl.where(better, g, owner)
        step += 1
    row = listed
    while row < rows:
        g = tl.load(problem.row_gt + b * G + row)
        _mask, scaled = load_pairs(matrix, g, row >= near, j, RULE)
        share = tl.exp((y - scaled - tl.load(plan.top + b * G + row)).to(RULE.dtype))
        better = (share > best) | ((share == best) & (g < owner))
        best, owner = tl.where(better, share, best), tl.where(better, g, owner)
        row += 1
    background = tl.exp((y - tl.load(plan.background_top + b)).to(RULE.dtype))
    owner = tl.where(column & (background <= best), owner, NOBODY)
    overlap = load_overlaps(matrix, owner, j, owner >= 0, RULE)
    store_match(matched_gt, matched_iou, num_fg, b, b * N + j, j < N, owner, overlap)


def pairs_of(G: int, N: int) -> int:
    """How many pairs of an image are listed: those of a region of up to three levels, and eight far rows."""
    return min(G * N, 8 * N + 128 * G)


def ota(*scene_and_rule: Any) -> tuple[Tensor, Tensor, Tensor]:
    check(*scene_and_rule)
    *scene, center_radius, topk, iou_weight, epsilon, iterations, tolerance, focal_alpha, focal_gamma = scene_and_rule
    pred_boxes, cls_logits, obj_logits = scene[:3]
    (B, N, C), G = cls_logits.shape, scene[5].shape[1]
    matched_gt = pred_boxes.new_full((B, N), NOBODY.value, dtype=torch.int64)
    matched_iou = pred_boxes.new_zeros((B, N), dtype=torch.float32)
    num_fg = pred_boxes.new_zeros(B, dtype=torch.int64)
    if B * G * N == 0:
        return matched_gt, matched_iou, num_fg
    capacity = pairs_of(G, N)

    def integers(size: int, value: int = 0) -> Tensor:
        return pred_boxes.new_full((size,), value, dtype=torch.int64)

    def numbers(size: int) -> Tensor:
        return pred_boxes.new_zeros(size, dtype=torch.float64)

    sizes = integers(B * G)
    problem = Problem(
        *dense_scene(*scene),
        row_gt=integers(B * G),
        row_begin=integers(B * G, -1),
        row_size=integers(B * G),
        row_supply=numbers(B * G),
        pair_anchor=integers(B * capacity, B * (N + 1)),
        pair_row=integers(B * capacity),
        pair_cost=numbers(B * capacity),
    )
    rule = OtaRule(
        **arithmetic(pred_boxes),
        has_obj=obj_logits is not None,
        center_radius=center_radius,
        iou_weight=iou_weight,
        focal_alpha=focal_alpha,
        focal_gamma=focal_gamma,
        per_epsilon=1 / epsilon,
    )
    args = (problem, *cls_logits.stride(), N, C, G)
    launch(count_pairs, B * G, sizes, *args, RULE=rule, BLOCK=BLOCK, num_warps=8)
    launch(list_pairs, B * G, sizes, *args, capacity, min(topk, N), RULE=rule, BLOCK=BLOCK, num_warps=8)
    anchors, order = torch.sort(problem.pair_anchor, stable=True)
    plan = Plan(
        begin=torch.searchsorted(anchors, torch.arange(B * (N + 1) + 1, device=anchors.device)),
        rows=problem.pair_row[order],
        costs=problem.pair_cost[order],
        columns=integers(B * N),
        x=numbers(B * G),
        y=numbers(B * (N + 1)),
        top=numbers(B * G),
        background_top=numbers(B),
        counts=integers(B * 3),
    )
    shapes = {
        "ROWS": ROWS,
        "ROW_PAIRS": ROW_PAIRS,
        "COLUMNS": min(COLUMNS, triton.next_power_of_2(N)),
        "COLUMN_PAIRS": COLUMN_PAIRS,
        "BLOCK": BLOCK,
    }
    launch(solve, B, sizes, *args, plan, iterations, tolerance, RULE=rule, num_warps=8, **shapes)
    launch(finish, B * blocks(N, TILE), matched_gt, *args, plan, matched_iou, num_fg, RULE=rule, TILE=TILE)
    return matched_gt, matched_iou, num_fg
