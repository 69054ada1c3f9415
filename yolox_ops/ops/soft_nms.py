"""soft_nms: non-maximum suppression that lowers the scores of overlapping boxes instead of removing them."""

from typing import NamedTuple

import torch
from torch import Tensor

from yolox_ops._arguments import check_count, check_nms_rule, check_shape
from yolox_ops._check import check_float, check_integer, check_same_device, wide_dtype
from yolox_ops._library import check_schema
from yolox_ops._tracing import as_pytree, traceable

check_schema(
    "soft_nms(Tensor boxes, Tensor scores, Tensor? labels, str method, float sigma, float iou_threshold, "
    "float score_threshold, int max_detections, str fmt) -> (Tensor, Tensor, Tensor)"
)


@as_pytree
class SoftNMS(NamedTuple):
    """What batched_soft_nms returns."""

    indices: Tensor  # [B, K] int64, in order of selection, -1 past counts
    scores: Tensor  # [B, K] decayed scores, 0 past counts
    counts: Tensor  # [B] int64


def _check_detections(
    words: str,
    boxes: Tensor,  # [N, 4] or [B, N, 4]
    scores: Tensor,  # [N] or [B, N]
    labels: Tensor | None,  # as scores
    method: str,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
    fmt: str,
) -> None:
    """`words` is the shape of scores and labels, "[N]" or "[B, N]"."""
    check_float("boxes", boxes)
    check_float("scores", scores)
    check_shape("boxes", boxes, words[:-1] + ", 4]", (*(None for _ in words.split(",")), 4))
    check_shape("scores", scores, words, boxes.shape[:-1])
    if labels is not None:
        check_integer("labels", labels)
        check_shape("labels", labels, words, boxes.shape[:-1])
    check_same_device("boxes", boxes, scores=scores, labels=labels)
    check_nms_rule(method, sigma, iou_threshold, score_threshold, fmt)


def check(
    boxes: Tensor,  # [B, N, 4]
    scores: Tensor,  # [B, N]
    labels: Tensor | None,  # [B, N]
    method: str,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
    max_detections: int,
    fmt: str,
) -> None:
    """The arguments of the bare op, for which no limit is -1."""
    _check_detections("[B, N]", boxes, scores, labels, method, sigma, iou_threshold, score_threshold, fmt)
    check_count("max_detections", max_detections, -1)


@torch.library.register_fake("yolox_ops::soft_nms")
def _(
    boxes: Tensor,  # [B, N, 4]
    scores: Tensor,  # [B, N]
    labels: Tensor | None,  # [B, N]
    method: str,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
    max_detections: int,
    fmt: str,
) -> tuple[Tensor, Tensor, Tensor]:
    check(boxes, scores, labels, method, sigma, iou_threshold, score_threshold, max_detections, fmt)
    batch, size = scores.shape
    shape = (batch, size if max_detections == -1 else min(max_detections, size))
    indices = boxes.new_empty(shape, dtype=torch.int64)
    return indices, boxes.new_empty(shape, dtype=wide_dtype(boxes, scores)), indices.new_empty(batch)


@traceable
def batched_soft_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None = None,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 1e-3,
    max_detections: int | None = None,
    fmt: str = "xyxy",
) -> SoftNMS:
    """Soft-NMS (Bodla et al. 2017) of every image of a batch: repeatedly selects the box of the largest score and
    lowers the scores of the boxes of its label that overlap it.

    Args:
        boxes: [B, N, 4], float32, float64, float16 or bfloat16.
        scores: [B, N], of the same dtypes, after the sigmoid: what is below score_threshold is dropped.
        labels: [B, N], any integers; boxes of different labels do not touch. None: all are of one label.
        method: what a selected box does to another, by their IoU. "hard": IoU > iou_threshold removes it. "linear":
            IoU > iou_threshold multiplies its score by 1 - IoU. "gaussian": multiplies it by exp(-IoU^2 / sigma).
            "mean_gaussian": the same where IoU > iou_threshold, with the mean score of the label's remaining boxes
            for sigma, unless that is 0 or less.
        sigma: positive and finite. iou_threshold: at least 0.
        score_threshold: a box whose score is below it, at first or once decayed, is dropped.
        max_detections: at most so many boxes an image; None: no limit.
        fmt: what a box's four numbers are, "xyxy", "xywh" or "cxcywh".

    Returns:
        SoftNMS(indices [B, K] int64, scores [B, K], counts [B] int64) with K = min(max_detections, N), in order of
        selection; past an image's count indices are -1 and scores 0. Scores are decayed, float64 if an input is
        float64, else float32. Equal scores: the lower index first. A NaN score is never selected; a box with a NaN
        overlaps nothing. Not differentiable.

    Raises:
        ValueError: a shape, device or value does not fit. TypeError: a dtype does not.
    """
    _check_detections("[B, N]", boxes, scores, labels, method, sigma, iou_threshold, score_threshold, fmt)
    if max_detections is not None:
        check_count("max_detections", max_detections, 0)
    most = -1 if max_detections is None else max_detections
    return SoftNMS(
        *torch.ops.yolox_ops.soft_nms(
            boxes.detach(), scores.detach(), labels, method, sigma, iou_threshold, score_threshold, most, fmt
        )
    )


@traceable
def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None = None,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 1e-3,
    max_detections: int | None = None,
    fmt: str = "xyxy",
) -> tuple[Tensor, Tensor]:
    """batched_soft_nms of one image, cut to its count.

    Args:
        boxes: [N, 4]. scores: [N]. labels: [N] or None. The rest as in batched_soft_nms.

    Returns:
        indices [K] int64 and decayed scores [K] of the K selected boxes, in order of selection. Reading K
        synchronises with a GPU; batched_soft_nms does not.

    Raises:
        As batched_soft_nms.
    """
    _check_detections("[N]", boxes, scores, labels, method, sigma, iou_threshold, score_threshold, fmt)
    indices, decayed, counts = batched_soft_nms(
        boxes[None],
        scores[None],
        None if labels is None else labels[None],
        method=method,
        sigma=sigma,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        max_detections=max_detections,
        fmt=fmt,
    )
    if torch.jit.is_tracing():  # which records a cut by a tensor, and not one by a number
        return indices[0, : counts[0]], decayed[0, : counts[0]]
    count = counts.item()
    torch._check(count >= 0)
    torch._check(count <= indices.shape[1])
    return indices[0, :count], decayed[0, :count]
