"""A batch as kernels read it, and one image of it: what simota_cost, simota and ota share."""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from yolox_ops._check import computable, wide_dtype
from yolox_ops.scene import Scene
from yolox_ops.triton.boxes import iou, is_finite, load_box, load_numbers
from yolox_ops.triton.matching import count_gts
from yolox_ops.triton.scores import Numbers

# The numbers that kernels take beside a Batch. None becomes a constant where it is 1, for a tuple that holds constants
# does not survive a loop. They are no tuple themselves: do_not_specialize does not reach into one.
NUMBERS = ["cls_image_stride", "cls_anchor_stride", "cls_class_stride", "N", "C", "G", *Numbers._fields]


class Batch(NamedTuple):
    """A Scene as kernels read it, with the workspace: tensors, which are pointers to kernels. All are dense but
    cls_logits."""

    pred_boxes: Tensor  # [B, N, 4]
    cls_logits: Tensor  # [B, N, C]
    obj_logits: Tensor  # [B, N]
    anchor_points: Tensor  # [N, 2]
    strides: Tensor  # [N]
    gt_boxes: Tensor  # [B, G, 4]
    gt_labels: Tensor  # [B, G]
    num_gts: Tensor  # [B]
    candidate_counts: Tensor  # [B]
    candidates: Tensor  # [B, N], the anchors of an image that are candidates, slot by slot, in any order
    slots: Tensor  # [B, N], which slot a candidate has
    traits: Tensor  # [B, TRAITS, N], of slots (slots.py)
    negatives: Tensor  # [B, N], of slots: the sum over classes of -log(1 - p)
    partial_sums: Tensor  # [programs, DESCRIBED, SUMS], of which describe makes them


class Image(NamedTuple):
    """One image of a batch, made by a kernel of its arguments."""

    batch: Any  # Batch, or OtaBatch
    cls_image_stride: int
    cls_anchor_stride: int
    cls_class_stride: int
    N: int
    C: int
    G: int
    b: int  # which one
    numbers: Any  # Numbers of the rule, or OtaNumbers


@triton.jit
def load_gt(image, g, RULE: tl.constexpr):
    """Centre and size, label, and whether there is such a ground truth: padding, a row that is not finite and one whose
    label is no class are none. Their label is 0, for it to point at something. `g` is one row or many."""
    batch, b, G = image.batch, image.b, image.G
    row = b * G + g
    cx, cy, w, h = load_numbers(batch.gt_boxes, row * 4, g < G, RULE.dtype)
    label = tl.load(batch.gt_labels + row, g < G, 0).to(tl.int64)
    present = (g < count_gts(batch.num_gts, b, G)) & is_finite(cx, cy, w, h) & (label >= 0) & (label < image.C)
    return (cx, cy, w, h), tl.where(present, label, 0), present


@triton.jit
def load_anchors(image, j, mask, RULE: tl.constexpr):
    """Centres, and how far from one the centre of a ground truth may be."""
    batch = image.batch
    x = tl.load(batch.anchor_points + j * 2, mask, 0.0).to(RULE.dtype)
    y = tl.load(batch.anchor_points + j * 2 + 1, mask, 0.0).to(RULE.dtype)
    reach = tl.full(x.shape, image.numbers.center_radius, RULE.dtype)
    if RULE.candidates != "all":
        reach *= tl.load(batch.strides + j, mask, 0.0).to(RULE.dtype)
    return x, y, reach


@triton.jit
def point_at_logits(image, j):
    """Where the class logits of anchors j begin."""
    return image.batch.cls_logits + image.b * image.cls_image_stride + j * image.cls_anchor_stride


@triton.jit
def load_overlaps(image, g, j, mask, RULE: tl.constexpr):
    """IoU of ground truth g, one or one for each anchor, with the predictions of anchors j."""
    batch, b, G = image.batch, image.b, image.G
    gt_boxes = load_box(batch.gt_boxes, (b * G + g) * 4, (g >= 0) & (g < G), "cxcywh", RULE.dtype)
    return iou(gt_boxes, load_box(batch.pred_boxes, (b * image.N + j) * 4, mask, "cxcywh", RULE.dtype))


def make_dense(scene: Scene) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors as a Batch has them. What there is none of no kernel reads, but for the counts, which are then G."""
    num_gts = scene.num_gts
    if num_gts is None:
        num_gts = scene.gt_labels.new_full((len(scene.gt_labels),), scene.gt_labels.shape[1], dtype=torch.int64)
    return (
        scene.pred_boxes.contiguous(),
        scene.cls_logits,
        scene.cls_logits if scene.obj_logits is None else scene.obj_logits.contiguous(),
        scene.anchor_points.contiguous(),
        scene.strides.contiguous(),
        scene.gt_boxes.contiguous(),
        computable(scene.gt_labels).contiguous(),
        computable(num_gts).contiguous(),
    )


def choose_arithmetic(
    pred_boxes: Tensor,  # [B, N, 4]
) -> dict[str, Any]:
    """The fields `dtype` and `shift` of a rule."""
    is_wide = wide_dtype(pred_boxes) == torch.float64
    return {"dtype": tl.float64 if is_wide else tl.float32, "shift": 0 if is_wide else 42}
