"""soft_nms: non-maximum suppression that lowers the scores of overlapping boxes instead of removing them."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from yolox_ops._arguments import check_corners, check_count, check_flag, check_nms_rule, check_shape
from yolox_ops._check import check_float, check_integer, check_same_device, check_tensor, wide_dtype
from yolox_ops._library import check_schema
from yolox_ops._transforms import as_pytree, traceable

check_schema(
    "soft_nms(Tensor boxes, Tensor scores, Tensor? labels, str method, float sigma, float iou_threshold, "
    "float score_threshold, int max_detections, str fmt, bool inclusive=False) -> (Tensor, Tensor, Tensor)"
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
    inclusive: bool = False,
) -> None:
    """The arguments of the bare op, for which no limit is -1."""
    _check_detections("[B, N]", boxes, scores, labels)
    check_nms_rule(method, sigma, iou_threshold, score_threshold, fmt)
    check_count("max_detections", max_detections, -1)
    check_flag("inclusive", inclusive)


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
    inclusive: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    check(boxes, scores, labels, method, sigma, iou_threshold, score_threshold, max_detections, fmt, inclusive)
    batch, size = scores.shape
    shape = (batch, size if max_detections == -1 else min(max_detections, size))
    indices = boxes.new_empty(shape, dtype=torch.int64)
    return indices, boxes.new_empty(shape, dtype=wide_dtype(boxes, scores)), indices.new_empty(batch)


def _with_rows(boxes: Tensor, dims: int) -> Tensor:
    """[0, 4] where no boxes are given as [0], or [B, 0, 4] where they are as [B, 0]."""
    none = isinstance(boxes, Tensor) and boxes.dim() == dims and boxes.shape[-1] == 0
    return boxes.reshape(*boxes.shape, 4) if none else boxes


def _as_integers(labels: Tensor | None) -> Tensor | None:
    """Labels that the op takes; equal numbers are equal integers."""
    if labels is None:
        return None
    check_tensor("labels", labels)
    if not labels.is_floating_point() and labels.dtype != torch.bool:
        return labels
    return (labels.detach().double() + 0.0).view(torch.int64)  # -0 becomes 0


def _order_corners(boxes: Tensor) -> Tensor:  # [..., 4]
    one, other = boxes.split(2, -1)
    return torch.cat([torch.minimum(one, other), torch.maximum(one, other)], -1)


def _leave_candidates(scores: Tensor, most: int) -> Tensor:  # [..., N]
    """The largest `most` scores of each image; the others become NaN."""
    ranking = (-scores).argsort(dim=-1, stable=True)  # NaN last
    # Not by a slice of the ranking, which an exported program would take for a promise about N.
    late = (torch.arange(scores.shape[-1], device=scores.device) >= most).expand_as(ranking)
    return scores.masked_fill(torch.zeros_like(late).scatter(-1, ranking, late), math.nan)


@traceable
def batched_soft_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None = None,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    inclusive: bool = False,
    score_threshold: float | None = 1e-3,
    max_candidates: int | None = None,
    max_detections: int | None = None,
    fmt: str = "xyxy",
    any_corners: bool = False,
) -> SoftNMS:
    """Soft-NMS (Bodla et al. 2017) of every image of a batch: repeatedly selects the box of the largest score and
    lowers the scores of the boxes of its label that overlap it.

    Args:
        boxes: [B, N, 4], float32, float64, float16 or bfloat16.
        scores: [B, N], of the same dtypes, after the sigmoid: what is below score_threshold is dropped.
        labels: [B, N], any integers, floats or bools; boxes of different labels do not touch. None: all are of one
            label.
        method: what a selected box does to another, by their IoU. "hard": IoU > iou_threshold removes it. "linear":
            IoU > iou_threshold multiplies its score by 1 - IoU. "gaussian": multiplies it by exp(-IoU^2 / sigma).
            "mean_gaussian": the same where IoU > iou_threshold, with the mean score of the label's remaining boxes
            for sigma, unless that is 0 or less.
        sigma: positive and finite. iou_threshold: at least 0.
        inclusive: IoU >= iou_threshold in place of IoU > iou_threshold. Boxes that do not overlap never touch.
        score_threshold: a box whose score is below it, at first or once decayed, is dropped. None: none is.
        max_candidates: of each image only so many boxes, those of the largest scores, take part; None: all.
        max_detections: at most so many boxes an image; None: no limit.
        fmt: what a box's four numbers are, "xyxy", "xywh" or "cxcywh".
        any_corners: the corners of "xyxy" may be any two that lie opposite each other, in either order.

    Returns:
        SoftNMS(indices [B, K] int64, scores [B, K], counts [B] int64) with K = min(max_detections, N), in order of
        selection; past an image's count indices are -1 and scores 0. Scores are decayed, float64 if an input is
        float64, else float32. Equal scores: the lower index first. A NaN score is never selected; a box with a NaN
        overlaps nothing. Not differentiable. On a GPU a score_threshold of 0 or more takes less time than None.

    Raises:
        ValueError: a shape, device or value does not fit. TypeError: a dtype does not.
    """
    boxes, labels = _with_rows(boxes, 2), _as_integers(labels)
    _check_detections("[B, N]", boxes, scores, labels)
    least = -math.inf if score_threshold is None else score_threshold
    check_nms_rule(method, sigma, iou_threshold, least, fmt)
    check_flag("inclusive", inclusive)
    check_corners(any_corners, fmt)
    most = -1
    if max_detections is not None:
        check_count("max_detections", max_detections, 0)
        most = max_detections
    boxes, scores = boxes.detach(), scores.detach()
    if any_corners:
        boxes = _order_corners(boxes)
    if max_candidates is not None:
        check_count("max_candidates", max_candidates, 0)
        scores = _leave_candidates(scores, max_candidates)
    rule = method, sigma, iou_threshold, least, most, fmt, bool(inclusive)
    return SoftNMS(*torch.ops.yolox_ops.soft_nms(boxes, scores, labels, *rule))


@traceable
def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None = None,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    inclusive: bool = False,
    score_threshold: float | None = 1e-3,
    max_candidates: int | None = None,
    max_detections: int | None = None,
    fmt: str = "xyxy",
    any_corners: bool = False,
) -> tuple[Tensor, Tensor]:
    """batched_soft_nms of one image, cut to its count.

    Args:
        boxes: [N, 4]; [0], too, if there are none. scores: [N]. labels: [N] or None. The rest as in batched_soft_nms.

    Returns:
        indices [K] int64 and decayed scores [K] of the K selected boxes, in order of selection. Reading K
        synchronises with a GPU; batched_soft_nms does not.

    Raises:
        As batched_soft_nms.
    """
    boxes, labels = _with_rows(boxes, 1), _as_integers(labels)
    _check_detections("[N]", boxes, scores, labels)
    indices, decayed, counts = batched_soft_nms(
        boxes[None],
        scores[None],
        None if labels is None else labels[None],
        method=method,
        sigma=sigma,
        iou_threshold=iou_threshold,
        inclusive=inclusive,
        score_threshold=score_threshold,
        max_candidates=max_candidates,
        max_detections=max_detections,
        fmt=fmt,
        any_corners=any_corners,
    )
    if torch.jit.is_tracing():  # which records a cut by a tensor, and not one by a number
        return indices[0, : counts[0]], decayed[0, : counts[0]]
    count = counts.item()
    torch._check(count >= 0)
    torch._check(count <= indices.shape[1])
    return indices[0, :count], decayed[0, :count]
