"""dynamic_k_match: the matching half of SimOTA, on a cost matrix of any origin."""

import torch
from torch import Tensor

from yolox_ops._arguments import check_choice, check_count, check_shape
from yolox_ops._check import check_float, check_integer, check_same_device
from yolox_ops._library import check_schema
from yolox_ops._transforms import traceable
from yolox_ops.assignment import Assignment

check_schema(
    "dynamic_k_match(Tensor cost, Tensor iou, Tensor? num_gts, int topk, str k_rounding) -> (Tensor, Tensor, Tensor)"
)


def check_dynamic_k(topk: int, k_rounding: str) -> None:
    check_count("topk", topk, 1)
    check_choice("k_rounding", k_rounding, ("down", "nearest"))


def check(
    cost: Tensor,  # [B, G, N]
    iou: Tensor,  # [B, G, N]
    num_gts: Tensor | None,  # [B]
    topk: int,
    k_rounding: str,
) -> None:
    """The arguments of the bare op."""
    check_float("cost", cost)
    check_shape("cost", cost, "[B, G, N]", (None, None, None))
    check_float("iou", iou)
    check_shape("iou", iou, "[B, G, N]", tuple(cost.shape))
    if num_gts is not None:
        check_integer("num_gts", num_gts)
        check_shape("num_gts", num_gts, "[B]", (cost.shape[0],))
    check_same_device("cost", cost, iou=iou, num_gts=num_gts)
    check_dynamic_k(topk, k_rounding)


@torch.library.register_fake("yolox_ops::dynamic_k_match")
def _(
    cost: Tensor,  # [B, G, N]
    iou: Tensor,  # [B, G, N]
    num_gts: Tensor | None,  # [B]
    topk: int,
    k_rounding: str,
) -> tuple[Tensor, Tensor, Tensor]:
    check(cost, iou, num_gts, topk, k_rounding)
    images, _, anchors = cost.shape
    return (
        cost.new_empty((images, anchors), dtype=torch.int64),
        cost.new_empty((images, anchors), dtype=torch.float32),
        cost.new_empty((images,), dtype=torch.int64),
    )


@traceable
def dynamic_k_match(
    cost: Tensor, iou: Tensor, num_gts: Tensor | None = None, *, topk: int = 10, k_rounding: str = "down"
) -> Assignment:
    """Matches anchors to ground truths by cost (YOLOX, Ge et al. 2021; Megvii's YOLOXHead.simota_matching).

    A ground truth takes its k cheapest anchors, k = max(1, int(sum of its topk largest IoUs)); an anchor that several
    take goes to the ground truth of lowest cost, among all of the image, also one that did not take it.

    Args:
        cost: [B, G, N], float32, float64, float16 or bfloat16; +inf where a pair may never match.
        iou: [B, G, N], in [0, 1], 0 where the anchor is no candidate; any of these dtypes.
        num_gts: [B], any integer dtype: rows of an image at or past it are padding. None: all G are real.
        topk: largest IoUs that k is estimated from.
        k_rounding: "down" as above, or "nearest": k is their sum to the nearest integer, half to even, and may be 0.

    Returns:
        Assignment(matched_gt [B, N] int64, matched_iou [B, N] float32, num_fg [B] int64). Equal costs go to the lower
        anchor, then to the lower ground truth. A NaN cost is the worst that can still match; a NaN IoU counts 0. No
        gradient.

    Raises:
        ValueError: a shape, device or parameter does not fit; on the CPU also a num_gts outside [0, G], which is
        clamped on a GPU. TypeError: a dtype does not fit.
    """
    check(cost, iou, num_gts, topk, k_rounding)
    counts = None if num_gts is None else num_gts.detach()
    return Assignment(*torch.ops.yolox_ops.dynamic_k_match(cost.detach(), iou.detach(), counts, topk, k_rounding))
