"""The launch that describes candidates: the sum over classes that an anchor brings to the cost of all its pairs. A
program is a warp and has 8 candidates of an image at a time, 16 classes of each side by side, and then others. Bound by
the issue of 70 operations a class: modelled for an H200, 3.4 us for a batch of 16 and 80 classes, its pipes 2.9 us."""

import triton
import triton.language as tl

from yolox_ops.triton.batch import NUMBERS, Image, point_at_logits
from yolox_ops.triton.numeric import exp_scaled
from yolox_ops.triton.scores import SUMS, read_numbers, softplus_of_minus, sum_negatives
from yolox_ops.triton.slots import load_anchor, store_score

# Programs to an image, and candidates that each describes at a time.
DESCRIBERS = 256
DESCRIBED = 8


@triton.jit
def load_objectness(image, j, mask, RULE: tl.constexpr):
    """e^-o 2^shift and log(1 + e^-o) of anchors j."""
    if RULE.has_obj:
        obj = tl.load(image.batch.obj_logits + image.b * image.N + j, mask, 0.0).to(RULE.dtype)
    else:
        obj = tl.zeros(j.shape, RULE.dtype)
    return exp_scaled(-obj, RULE.shift), softplus_of_minus(obj)


@triton.jit(do_not_specialize=NUMBERS)
def describe(
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
    RULE: tl.constexpr,
    DESCRIBERS: tl.constexpr,
    DESCRIBED: tl.constexpr,
):
    """A share of one image's candidates."""
    program = tl.program_id(0).to(tl.int64)
    b, first = program // DESCRIBERS, (program % DESCRIBERS).to(tl.int32) * DESCRIBED
    numbers = read_numbers(center_radius, outside_penalty, cls_weight, iou_weight, iou_eps, RULE)
    image = Image(batch, cls_image_stride, cls_anchor_stride, cls_class_stride, N, C, G, b, numbers)
    count = tl.load(batch.candidate_counts + b)
    partial_sums = batch.partial_sums + program * DESCRIBED * SUMS
    while first < count:
        slot = first + tl.arange(0, DESCRIBED)
        mask = slot < count
        j = load_anchor(image, slot, mask)
        obj_exp, obj_softplus = load_objectness(image, j, mask, RULE)
        logits = point_at_logits(image, j)
        negatives = sum_negatives(logits, image.cls_class_stride, mask, image.C, obj_exp, partial_sums, RULE)
        store_score(image, slot, mask, (negatives, obj_exp, obj_softplus))
        first += DESCRIBERS * DESCRIBED
