"""The derivative of a similarity by the numbers of one of its boxes: what csrc/boxes/dual.h makes of csrc/boxes/box.h,
in reverse. A variable g_x is the derivative by x. `box` is the one that is differentiated, `other` is not; FIRST says
that `box` is the first of the two."""

import triton
import triton.language as tl

from yolox_ops.triton.boxes import divide, extent, hull, iou_and_union, is_whole, make_box, ratio_or_zero


@triton.jit
def through_larger(g, number, other, FIRST: tl.constexpr):
    """The part of g that larger(a, b) passes on to the box's number; of equal ones it is b that gets all."""
    if FIRST:
        return tl.where(number > other, g, 0.0)
    else:
        return tl.where(other > number, 0.0, g)


@triton.jit
def through_smaller(g, number, other, FIRST: tl.constexpr):
    if FIRST:
        return tl.where(number < other, g, 0.0)
    else:
        return tl.where(other < number, 0.0, g)


@triton.jit
def in_order(box, other, FIRST: tl.constexpr):
    if FIRST:
        return box, other
    else:
        return other, box


@triton.jit
def through_intersection(g_overlap, g_union, box, other, FIRST: tl.constexpr):
    """From IoU and union to the box's corners and area."""
    a, b = in_order(box, other, FIRST)
    overlap, unite = iou_and_union(a, b)
    w, h, inter = extent(a, b)
    rest = (a[4] + b[4]) - inter
    g_inter = tl.where(inter == 0, 0.0, divide(g_overlap, unite))
    # Where there is no overlap, IoU is the constant 0, or the union if that is NaN.
    g_union += tl.where(inter == 0, tl.where(unite == unite, 0.0, g_overlap), -divide(overlap, unite) * g_overlap)
    g_inter += tl.where(inter > rest, g_union, -g_union)
    g_area = tl.where(inter > rest, 0.0, g_union)
    meet = (w > 0) & (h > 0)
    g_w = tl.where(meet, g_inter * h, 0.0)
    g_h = tl.where(meet, g_inter * w, 0.0)
    g_x1 = -through_larger(g_w, box[0], other[0], FIRST)
    g_y1 = -through_larger(g_h, box[1], other[1], FIRST)
    g_x2 = through_smaller(g_w, box[2], other[2], FIRST)
    g_y2 = through_smaller(g_h, box[3], other[3], FIRST)
    return g_x1, g_y1, g_x2, g_y2, g_area


@triton.jit
def through_hull(g_w, g_h, box, other, FIRST: tl.constexpr):
    """From the hull's sides to the box's corners."""
    g_x1 = -through_smaller(g_w, box[0], other[0], FIRST)
    g_y1 = -through_smaller(g_h, box[1], other[1], FIRST)
    g_x2 = through_larger(g_w, box[2], other[2], FIRST)
    g_y2 = through_larger(g_h, box[3], other[3], FIRST)
    return g_x1, g_y1, g_x2, g_y2


@triton.jit
def through_angle(g, x1, y1, x2, y2):
    """From atan2(width, height) to the corners."""
    w, h = x2 - x1, y2 - y1
    square = w * w + h * h
    scale = tl.where(square > 0, divide(g, square), 0.0)
    g_w, g_h = h * scale, -w * scale
    return -g_w, -g_h, g_w, g_h


@triton.jit
def through_box(g_corners, g_area, numbers, box, FMT: tl.constexpr):
    """From corners and area to the four numbers that the box was made of."""
    g_x1, g_y1, g_x2, g_y2 = g_corners
    a, b, c, d = numbers
    x1, y1, x2, y2, _ = box
    whole = is_whole(x1, y1, x2, y2)
    spread = tl.where(whole, 0.0, g_area)  # the area of a box with a NaN is the sum of its corners
    g_x1 += spread
    g_y1 += spread
    g_x2 += spread
    g_y2 += spread
    if FMT == "xyxy":
        g_c, g_d = tl.where(whole, g_area * (d - b), 0.0), tl.where(whole, g_area * (c - a), 0.0)
        return g_x1 - g_c, g_y1 - g_d, g_x2 + g_c, g_y2 + g_d
    else:
        g_c, g_d = tl.where(whole, g_area * d, 0.0), tl.where(whole, g_area * c, 0.0)
        if FMT == "xywh":
            return g_x1 + g_x2, g_y1 + g_y2, g_x2 + g_c, g_y2 + g_d
        else:
            return g_x1 + g_x2, g_y1 + g_y2, (g_x2 - g_x1) * 0.5 + g_c, (g_y2 - g_y1) * 0.5 + g_d


@triton.jit
def through_giou(g, unite, w, h):
    """From GIoU to the union and the hull's sides."""
    around = w * h
    share = ratio_or_zero(g, around)
    g_around = ratio_or_zero(around - unite, around) * share - share
    return share, g_around * h, g_around * w


@triton.jit
def through_distance(g, w, h, box, other):
    """From the distance of the centres over the hull's diagonal to the hull's sides and the box's corners in x and y,
    of which it moves both by the same."""
    dx = (other[0] + other[2]) - (box[0] + box[2])
    dy = (other[1] + other[3]) - (box[1] + box[3])
    square = w * w + h * h
    share = ratio_or_zero(g, square)
    g_square = ratio_or_zero((dx * dx + dy * dy) * 0.25, square) * share
    return g_square * w * 2.0, g_square * h * 2.0, share * dx * 0.5, share * dy * 0.5


@triton.jit
def gradient(g, numbers, other, turn, FIRST: tl.constexpr, FMT: tl.constexpr, KIND: tl.constexpr):
    """g times the derivative of the similarity by the `numbers` of a box, 0 where g is 0 whatever the boxes hold.
    `turn` is the other box's angle less this one's."""
    box = make_box(numbers, FMT)
    a, b = in_order(box, other, FIRST)
    overlap, unite = iou_and_union(a, b)
    if KIND == "iou":
        g_x1, g_y1, g_x2, g_y2, g_area = through_intersection(g, g * 0.0, box, other, FIRST)
    else:
        w, h = hull(a, b)
        if KIND == "giou":
            g_union, g_w, g_h = through_giou(g, unite, w, h)
        else:
            g_union = g * 0.0
            g_w, g_h, by_x, by_y = through_distance(g, w, h, box, other)
        g_x1, g_y1, g_x2, g_y2, g_area = through_intersection(g, g_union, box, other, FIRST)
        by_x1, by_y1, by_x2, by_y2 = through_hull(g_w, g_h, box, other, FIRST)
        g_x1 += by_x1
        g_y1 += by_y1
        g_x2 += by_x2
        g_y2 += by_y2
        if KIND != "giou":
            g_x1 += by_x
            g_x2 += by_x
            g_y1 += by_y
            g_y2 += by_y
        if KIND == "ciou":
            v = turn * turn * 0.40528473456935109
            alpha = ratio_or_zero(v, (1.0 - overlap) + v)
            g_turn = alpha * g * turn * (2.0 * 0.40528473456935109)
            by_x1, by_y1, by_x2, by_y2 = through_angle(g_turn, box[0], box[1], box[2], box[3])
            g_x1 += by_x1
            g_y1 += by_y1
            g_x2 += by_x2
            g_y2 += by_y2
    g_1, g_2, g_3, g_4 = through_box((g_x1, g_y1, g_x2, g_y2), g_area, numbers, box, FMT)
    off = g == 0
    return tl.where(off, 0.0, g_1), tl.where(off, 0.0, g_2), tl.where(off, 0.0, g_3), tl.where(off, 0.0, g_4)
