"""Who has which anchor once ota has transported: the row where the anchor has the largest share of the row's largest
mass."""

import triton
import triton.language as tl

from yolox_ops.triton.batch import NUMBERS, Image, load_overlaps
from yolox_ops.triton.matching import NOBODY, locate_tile, store_match
from yolox_ops.triton.ota_pairs import OtaNumbers, load_pairs, read_numbers


@triton.jit
def prefer_share(best, owner, share, g):
    """The larger of the best share and this one, and whose it is; of equal ones the lower ground truth's."""
    better = (share > best) | ((share == best) & (g < owner))
    return tl.where(better, share, best), tl.where(better, g, owner)


@triton.jit
def best_listed(best, owner, image, plan, begin, size, y, RULE: tl.constexpr):
    """Of the pairs that are listed."""
    longest = tl.max(size, 0)
    step = tl.full((), 0, tl.int64)
    while step < longest:
        row = tl.load(plan.rows + begin + step, step < size, 0)
        scaled = tl.load(plan.costs + begin + step, step < size, float("inf"))
        share = tl.exp((y - scaled - tl.load(plan.top + row, step < size, 0.0)).to(RULE.dtype))
        g = tl.load(image.batch.row_gt + row, step < size, 0)
        best, owner = prefer_share(best, owner, share, g)
        step += 1
    return best, owner


@triton.jit
def best_unlisted(best, owner, image, plan, near, listed, rows, j, y, RULE: tl.constexpr):
    """Of the rows whose pairs are not listed."""
    slot = listed
    while slot < rows:
        row = image.b * image.G + slot
        g = tl.load(image.batch.row_gt + row)
        _mask, scaled = load_pairs(image, g, slot >= near, j, RULE)
        share = tl.exp((y - scaled - tl.load(plan.top + row)).to(RULE.dtype))
        best, owner = prefer_share(best, owner, share, g)
        slot += 1
    return best, owner


@triton.jit(do_not_specialize=[*NUMBERS, *OtaNumbers._fields])
def decode(
    matched_gt,  # [B, N]
    batch,
    cls_image_stride,
    cls_anchor_stride,
    cls_class_stride,
    N,
    C,
    G,
    center_radius: tl.int64,
    iou_weight: tl.int64,
    focal_alpha: tl.int64,
    focal_gamma: tl.int64,
    per_epsilon: tl.float64,
    plan,
    matched_iou,  # [B, N]
    num_fg,  # [B]
    RULE: tl.constexpr,
    TILE: tl.constexpr,
):
    """A tile of one image's anchors."""
    b, j = locate_tile(N, TILE)
    numbers = read_numbers(center_radius, iou_weight, focal_alpha, focal_gamma, per_epsilon, RULE)
    image = Image(batch, cls_image_stride, cls_anchor_stride, cls_class_stride, N, C, G, b, numbers)
    anchor = b * (N + 1) + j
    near, listed = tl.load(plan.counts + b * 3), tl.load(plan.counts + b * 3 + 1)
    rows = tl.load(plan.counts + b * 3 + 2)
    begin = tl.load(plan.begin + anchor, j < N, 0)
    size = tl.load(plan.begin + anchor + 1, j < N, 0) - begin
    column = (j < N) & ((size > 0) | (listed < rows))
    y = tl.load(plan.y + anchor, column, 0.0)
    best, owner = tl.full((TILE,), 0.0, RULE.dtype), tl.full((TILE,), NOBODY, tl.int64)
    best, owner = best_listed(best, owner, image, plan, begin, size, y, RULE)
    best, owner = best_unlisted(best, owner, image, plan, near, listed, rows, j, y, RULE)
    background = tl.exp((y - tl.load(plan.background_top + b)).to(RULE.dtype))
    owner = tl.where(column & (background <= best), owner, NOBODY)
    overlap = load_overlaps(image, owner, j, owner >= 0, RULE)
    store_match(matched_gt, matched_iou, num_fg, b, N, j, owner, overlap)
