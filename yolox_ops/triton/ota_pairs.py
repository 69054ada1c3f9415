"""The pairs of ground truths and anchors that ota transports along, listed by ground truth.

A ground truth's pairs are with the anchors in its region, or, if none of those has a finite cost, with all anchors:
then it is far. The ground truths of an image that have pairs are its rows, first those that are near, then those that
are far, each in their order. Rows are listed as long as an image's capacity lasts. The pairs of the rest are found anew
whenever they are looked at: slow, but memory is bounded by anchors and ground truths and not by their product."""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from yolox_ops.triton.batch import NUMBERS, Image, load_anchors, load_gt, load_overlaps, point_at_logits
from yolox_ops.triton.log_sum import scale_cost
from yolox_ops.triton.mark import classify_anchor
from yolox_ops.triton.numeric import exp_scaled, from_bits, log_scaled
from yolox_ops.triton.scores import entropies, softplus_of_minus

LEAST_IOU = tl.constexpr(2.0**-23)  # float32's epsilon


class OtaNumbers(NamedTuple):
    """The numbers of OTA's rule, as scores.Numbers has SimOTA's."""

    center_radius: float
    iou_weight: float
    focal_alpha: float
    focal_gamma: float
    per_epsilon: float  # in float64


class OtaBatch(NamedTuple):
    """A Scene as kernels read it, like batch.Batch, and what is to be transported: tensors, which are pointers to
    kernels. A pair's anchor is named b * (N + 1) + j, its row b * G + row."""

    pred_boxes: Tensor  # [B, N, 4]
    cls_logits: Tensor  # [B, N, C]
    obj_logits: Tensor  # [B, N]
    anchor_points: Tensor  # [N, 2]
    strides: Tensor  # [N]
    gt_boxes: Tensor  # [B, G, 4]
    gt_labels: Tensor  # [B, G]
    num_gts: Tensor  # [B]
    row_gt: Tensor  # [B, G], of rows
    row_begin: Tensor  # [B, G], of rows: where in the list its pairs begin, -1 if they are not listed
    row_size: Tensor  # [B, G], of rows: how many pairs they have
    row_supply: Tensor  # [B, G], of rows, float64
    pair_anchor: Tensor  # [B * capacity], B * (N + 1) where there is no pair
    pair_row: Tensor  # [B * capacity]
    pair_cost: Tensor  # [B * capacity], over that of the background, divided by epsilon; +inf for a NaN


@triton.jit
def read_numbers(center_radius, iou_weight, focal_alpha, focal_gamma, per_epsilon, RULE: tl.constexpr):
    """OtaNumbers of what kernels are called with."""
    return OtaNumbers(
        from_bits(center_radius, RULE.dtype),
        from_bits(iou_weight, RULE.dtype),
        from_bits(focal_alpha, RULE.dtype),
        from_bits(focal_gamma, RULE.dtype),
        per_epsilon,
    )


@triton.jit
def focal_difference(image, label, j, mask, RULE: tl.constexpr):
    """What the focal loss of anchors j has more if they are of this class than if they are background."""
    logit = tl.load(point_at_logits(image, j) + label * image.cls_class_stride, mask, 0.0).to(RULE.dtype)
    if RULE.has_obj:
        obj = tl.load(image.batch.obj_logits + image.b * image.N + j, mask, 0.0).to(RULE.dtype)
        positive, negative = entropies(logit, exp_scaled(-obj, RULE.shift), softplus_of_minus(obj), RULE)
    else:
        positive, negative = entropies(logit, logit, logit, RULE)
    alpha, gamma = image.numbers.focal_alpha, image.numbers.focal_gamma
    # p^gamma and (1 - p)^gamma
    p_power, rest_power = exp_scaled(positive * -gamma, 0), exp_scaled(negative * -gamma, 0)
    return rest_power * positive * alpha - p_power * negative * (1.0 - alpha)


@triton.jit
def load_pairs(image, g, far, j, RULE: tl.constexpr):
    """Which anchors j ground truth g has a pair with, and their costs as they are listed, +inf where there is none. The
    penalty that a far one pays for all of them cancels."""
    gt, label, present = load_gt(image, g, RULE)
    _candidate, inside = classify_anchor(load_anchors(image, j, j < image.N, RULE), gt, RULE)
    mask = tl.where(present & (far | inside), j < image.N, False)
    scaled = tl.full(j.shape, float("inf"), tl.float64)
    if tl.max(mask.to(tl.int32), 0) > 0:
        focal = focal_difference(image, label, j, mask, RULE)
        overlap = load_overlaps(image, g, j, mask, RULE)
        log_overlap = log_scaled(tl.where(overlap < LEAST_IOU, LEAST_IOU, overlap), 0)
        cost = focal - log_overlap * image.numbers.iou_weight
        scaled = tl.where(mask, scale_cost(cost, image.numbers.per_epsilon), float("inf"))
    return mask, scaled


@triton.jit(do_not_specialize=[*NUMBERS, *OtaNumbers._fields])
def count_pairs(
    sizes,  # [B, G]
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
    RULE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One ground truth of one image: how many pairs it has, negative if it is far, 0 if there is none such."""
    program = tl.program_id(0).to(tl.int64)
    b, g = program // G, program % G
    numbers = read_numbers(center_radius, iou_weight, focal_alpha, focal_gamma, per_epsilon, RULE)
    image = Image(batch, cls_image_stride, cls_anchor_stride, cls_class_stride, N, C, G, b, numbers)
    _gt, _label, present = load_gt(image, g, RULE)
    pairs, finite = tl.full((), 0, tl.int32), tl.full((), 0, tl.int32)
    if present:
        first = tl.full((), 0, tl.int64)
        while first < N:
            mask, scaled = load_pairs(image, g, g < 0, first + tl.arange(0, BLOCK), RULE)
            pairs += tl.sum(mask.to(tl.int32), 0)
            finite += tl.sum((scaled < float("inf")).to(tl.int32), 0)
            first += BLOCK
        pairs = tl.where(finite > 0, pairs, -N)
    tl.store(sizes + program, pairs)
