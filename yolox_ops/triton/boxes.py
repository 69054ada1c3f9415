"""Box arithmetic, the formulas of csrc/boxes/box.h. A box is a tuple (x1, y1, x2, y2, area) of tensors; formats and
kinds are their public names."""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def larger(a, b):
    """NaN where either is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def smaller(a, b):
    """NaN where either is."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def divide(a, b):
    """a / b rounded as IEEE asks; Triton's float32 / is an approximation."""
    if a.dtype == tl.float32:
        return tl.div_rn(a, b)
    else:
        return a / b


@triton.jit
def ratio_or_zero(a, b):
    """a / b, but 0 where b is 0, as it is for empty boxes in the same spot."""
    return tl.where(b == 0, 0.0, divide(a, b))


@triton.jit
def load_numbers(
    ptr,  # [..., 4]
    offsets,
    mask,
    T: tl.constexpr,
):
    """The four numbers from ptr + offsets on, in the dtype T of the arithmetic; 0 where masked out."""
    a = tl.load(ptr + offsets, mask, 0.0).to(T)
    b = tl.load(ptr + offsets + 1, mask, 0.0).to(T)
    c = tl.load(ptr + offsets + 2, mask, 0.0).to(T)
    d = tl.load(ptr + offsets + 3, mask, 0.0).to(T)
    return a, b, c, d


@triton.jit
def store_numbers(
    ptr,  # [..., 4]
    offsets,
    mask,
    numbers,
):
    a, b, c, d = numbers
    tl.store(ptr + offsets, a, mask)
    tl.store(ptr + offsets + 1, b, mask)
    tl.store(ptr + offsets + 2, c, mask)
    tl.store(ptr + offsets + 3, d, mask)


@triton.jit
def is_whole(x1, y1, x2, y2):
    return (x1 == x1) & (x2 == x2) & (y1 == y1) & (y2 == y2)


@triton.jit
def is_finite(a, b, c, d):
    largest = tl.maximum(tl.maximum(tl.abs(a), tl.abs(b)), tl.maximum(tl.abs(c), tl.abs(d)))
    return is_whole(a, b, c, d) & (largest < float("inf"))


@triton.jit
def make_box(numbers, FMT: tl.constexpr):
    a, b, c, d = numbers
    if FMT == "xyxy":
        x1, y1, x2, y2 = a, b, c, d
        area = (c - a) * (d - b)
    else:
        area = c * d
        if FMT == "xywh":
            x1, y1, x2, y2 = a, b, a + c, b + d
        else:
            half_w, half_h = c * 0.5, d * 0.5
            x1, y1, x2, y2 = a - half_w, b - half_h, a + half_w, b + half_h
    # NaN if any corner is, so that every IoU with the box is NaN.
    area = tl.where(is_whole(x1, y1, x2, y2), area, (x1 + x2) + (y1 + y2))
    return x1, y1, x2, y2, area


@triton.jit
def load_box(
    ptr,  # [..., 4]
    offsets,
    mask,
    FMT: tl.constexpr,
    T: tl.constexpr,
):
    return make_box(load_numbers(ptr, offsets, mask, T), FMT)


@triton.jit
def extent(a, b):
    """Width, height and area of the intersection. The area is 0 where the boxes do not overlap."""
    ax1, ay1, ax2, ay2, _ = a
    bx1, by1, bx2, by2, _ = b
    w = smaller(ax2, bx2) - larger(ax1, bx1)
    h = smaller(ay2, by2) - larger(ay1, by1)
    return w, h, tl.where((w > 0) & (h > 0), w * h, 0.0)


@triton.jit
def iou_and_union(a, b):
    """No overlap gives 0, a NaN in either box NaN. That the union holds the intersection keeps IoU within 1. Boxes that
    do not meet divide 1: a GPU's division takes a detour for a dividend of 0."""
    _, _, inter = extent(a, b)
    unite = larger(inter, (a[4] + b[4]) - inter)
    meets = inter > 0
    quotient = divide(tl.where(meets, inter, 1.0), unite)
    return tl.where(meets, quotient, tl.where(unite == unite, 0.0, unite)), unite


@triton.jit
def iou(a, b):
    overlap, _ = iou_and_union(a, b)
    return overlap


@triton.jit
def hull(a, b):
    """Width and height of the smallest box around both."""
    ax1, ay1, ax2, ay2, _ = a
    bx1, by1, bx2, by2, _ = b
    return larger(ax2, bx2) - smaller(ax1, bx1), larger(ay2, by2) - smaller(ay1, by1)


@triton.jit
def similarity(a, b, turn, KIND: tl.constexpr):
    """`turn` is the angle of b less that of a (see `angles`), which only "ciou" reads."""
    overlap, unite = iou_and_union(a, b)
    if KIND == "iou":
        return overlap
    else:
        hull_w, hull_h = hull(a, b)
        if KIND == "giou":
            around = hull_w * hull_h
            return overlap - ratio_or_zero(around - unite, around)
        else:
            dx = (b[0] + b[2]) - (a[0] + a[2])  # twice the distance of the centres
            dy = (b[1] + b[3]) - (a[1] + a[3])
            diou = overlap - ratio_or_zero((dx * dx + dy * dy) * 0.25, hull_w * hull_w + hull_h * hull_h)
            if KIND == "diou":
                return diou
            else:
                v = turn * turn * 0.40528473456935109  # 4 / pi^2
                return diou - ratio_or_zero(v, (1.0 - overlap) + v) * v


@triton.jit
def load_angle(
    ptr,  # [...]
    offsets,
    mask,
    KIND: tl.constexpr,
):
    if KIND == "ciou":
        return tl.load(ptr + offsets, mask, 0.0)
    else:
        return 0.0


def angles(
    boxes: Tensor,  # [..., 4]
    fmt: str,
    kind: str,
    dtype: torch.dtype,
) -> Tensor:
    """atan2(width, height) of boxes where the kind asks for it, else a tensor that no kernel reads: Triton has
    no atan2."""
    if kind != "ciou":
        return boxes
    (a, b), (c, d) = (pair.unbind(-1) for pair in boxes.to(dtype).split(2, -1))
    if fmt == "xyxy":
        return torch.atan2(c - a, d - b)
    if fmt == "xywh":
        return torch.atan2((a + c) - a, (b + d) - b)
    c, d = c * 0.5, d * 0.5
    return torch.atan2((a + c) - (a - c), (b + d) - (b - d))
