"""The launch that lists candidates. A program is a warp and has a tile of neighbouring anchors: its lanes test 32 gts
against the extent of the tile, and only those that may reach it meet its anchors. Rounding is monotone, so a ground
truth that reaches an anchor reaches the extent. Bound by the latency of its loads and of one atomic operation:
modelled for an H200, 4.1 us for a batch of 16 and 8.1 us for one of 64, its pipes 2.0 and 8.1 us."""

import triton
import triton.language as tl

from yolox_ops.triton.batch import NUMBERS, Image, load_anchors, load_gt
from yolox_ops.triton.boxes import larger, load_box, load_numbers
from yolox_ops.triton.matching import GTS, count_gts, locate_tile
from yolox_ops.triton.scores import read_numbers
from yolox_ops.triton.slots import store_geometry

# Anchors of a program.
MARKED = 64

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
def measure_extent(anchors, mask):
    """Around the centres of anchors, and the farthest reach of any."""
    x, y, reach = anchors
    mask &= (x == x) & (y == y)  # others are no candidates
    x1, y1 = tl.min(tl.where(mask, x, float("inf")), 0), tl.min(tl.where(mask, y, float("inf")), 0)
    x2, y2 = tl.max(tl.where(mask, x, -float("inf")), 0), tl.max(tl.where(mask, y, -float("inf")), 0)
    return x1, y1, x2, y2, tl.max(tl.where(mask & (reach == reach), reach, 0.0), 0)


@triton.jit
def may_reach(gt, extent, RULE: tl.constexpr):
    cx, cy, w, h = gt
    x1, y1, x2, y2, reach = extent
    if RULE.candidates == "all":
        return cx == cx
    reach_x, reach_y = reach, reach
    if RULE.candidates == "box_or_center":
        reach_x, reach_y = larger(reach, w * 0.5), larger(reach, h * 0.5)
    return (x2 > cx - reach_x) & (x1 < cx + reach_x) & (y2 > cy - reach_y) & (y1 < cy + reach_y)


@triton.jit
def find_candidates(image, j, mask, anchors, RULE: tl.constexpr):
    """Whether anchors j are candidates because of any ground truth of the image."""
    batch, row = image.batch, image.b * image.G
    extent = measure_extent(anchors, mask)
    found = tl.zeros(j.shape, tl.int1)
    gts = count_gts(batch.num_gts, image.b, image.G)
    first = tl.full((), 0, tl.int64)
    while first < gts:
        lane = tl.arange(0, GTS)
        gt, _label, present = load_gt(image, first + lane, RULE)
        near = present & may_reach(gt, extent, RULE)
        left = tl.sum(tl.where(near, tl.full((), 1, tl.int32) << lane, 0), 0)
        while left != 0:
            lowest = (left & -left).to(tl.float32).to(tl.int32, bitcast=True)  # a power of 2 shows as an exponent
            g = first + ((lowest >> 23) & 0xFF) - 127
            candidate, _inside = classify_anchor(
                anchors, load_numbers(batch.gt_boxes, (row + g) * 4, True, RULE.dtype), RULE
            )  # fmt: skip
            found |= candidate
            left &= left - 1
        first += GTS
    return found & mask


@triton.jit(do_not_specialize=NUMBERS)
def mark(
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
    claims,  # [B, N], or None
    RULE: tl.constexpr,
    TILE: tl.constexpr,
):
    """A tile of one image's anchors."""
    b, j = locate_tile(N, TILE)
    numbers = read_numbers(center_radius, outside_penalty, cls_weight, iou_weight, iou_eps, RULE)
    image = Image(batch, cls_image_stride, cls_anchor_stride, cls_class_stride, N, C, G, b, numbers)
    anchors = load_anchors(image, j, j < N, RULE)
    candidate = find_candidates(image, j, j < N, anchors, RULE)
    if claims is not None:
        tl.store(claims + b * N + j, 0, j < N)
    rank = tl.cumsum(candidate.to(tl.int32), 0)
    count = tl.max(rank, 0)
    if count > 0:
        # Programs append in any order, on which nothing depends that is chosen among candidates later.
        slot = tl.atomic_add(batch.candidate_counts + b, count, sem="relaxed") + rank - 1
        box = load_box(batch.pred_boxes, (b * N + j) * 4, candidate, "cxcywh", RULE.dtype)
        tl.store(batch.candidates + b * N + slot, j.to(tl.int32), candidate)
        tl.store(batch.slots + b * N + j, slot, candidate)
        store_geometry(image, slot, candidate, box, anchors)
