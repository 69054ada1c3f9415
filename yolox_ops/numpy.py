"""pairwise_iou, soft_nms and batched_soft_nms of NumPy arrays: the CPU kernels of yolox_ops without torch, for what
ONNX Runtime or OpenCV gives. The answers have the bits of those on tensors of the same values.

Arguments are arrays, or what NumPy makes arrays of without loss: lists, integers, float16, ml_dtypes' bfloat16, any
byte order. Integers of 32 bits and more are float64, as lists of numbers are. Arrays of float32 and float64 are read
where they lie if they lie row by row; others are copied once. No result shares memory with an argument. Other Python
threads run meanwhile. A call of much work uses YOLOX_OPS_NUM_THREADS threads, if that is not set OMP_NUM_THREADS, else
one for each CPU that the process may run on; no number of them changes a bit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from yolox_ops._arguments import (
    FORMATS,
    KINDS,
    as_number,
    check_choice,
    check_corners,
    check_count,
    check_flag,
    check_nms_rule,
    check_shape,
)
from yolox_ops._arrays import as_floats, as_integers, dense, wide_dtype, with_rows
from yolox_ops._missing import HOW

if TYPE_CHECKING:  # an import that costs time
    from numpy.typing import ArrayLike

try:
    from yolox_ops import _numpy
except ImportError as error:
    raise ImportError(
        f"yolox_ops/_numpy does not load: {error}; {HOW}, where Python.h is (Debian: python3-dev)"
    ) from error

__all__ = ["SoftNMS", "batched_soft_nms", "pairwise_iou", "soft_nms"]


class SoftNMS(NamedTuple):
    """What batched_soft_nms returns."""

    indices: np.ndarray  # [B, K] int64, in order of selection, -1 past counts
    scores: np.ndarray  # [B, K] decayed scores, 0 past counts
    counts: np.ndarray  # [B] int64


def _order_corners(boxes: np.ndarray) -> np.ndarray:  # [..., 4]
    one, other = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(one, other), np.maximum(one, other)], -1)


def _leave_candidates(scores: np.ndarray, most: int) -> np.ndarray:  # [..., N]
    """The largest `most` scores of each image; the others become NaN."""
    ranking, left = np.argsort(-scores, -1, kind="stable"), scores.copy()  # NaN last
    np.put_along_axis(left, ranking[..., most:], np.nan, -1)
    return left


def pairwise_iou(boxes1: ArrayLike, boxes2: ArrayLike, *, fmt: str = "xyxy", kind: str = "iou") -> np.ndarray:
    """Similarity of every box of one set with every box of another, without [M, N] temporaries.

    Args:
        boxes1: [..., M, 4], floats or integers; [0], too, if there are none.
        boxes2: [..., N, 4]; its batch dimensions broadcast with those of boxes1.
        fmt: what a box's numbers are: "xyxy" (two corners), "xywh" (corner and size) or "cxcywh" (centre and size).
        kind: "iou", "giou" (Rezatofighi et al. 2019), "diou" or "ciou" (Zheng et al. 2020).

    Returns:
        [..., M, N], float64 if an input is float64 or has integers of 32 bits or more, else float32. Boxes that do not
        overlap, and boxes of no or negative size, have IoU 0; division by 0 in a formula gives 0; a box with a NaN
        gives NaN.

    Raises:
        ValueError: a shape, fmt or kind does not fit. TypeError: a dtype does not.
    """
    boxes1, boxes2 = (with_rows(as_floats(*pair), 1) for pair in (("boxes1", boxes1), ("boxes2", boxes2)))
    for name, boxes, words in (("boxes1", boxes1, "[..., M, 4]"), ("boxes2", boxes2, "[..., N, 4]")):
        if boxes.ndim < 2 or boxes.shape[-1] != 4:
            raise ValueError(f"{name} must be {words}, got {list(boxes.shape)}")
    check_choice("fmt", fmt, FORMATS)
    check_choice("kind", kind, KINDS)
    try:
        batch = np.broadcast_shapes(boxes1.shape[:-2], boxes2.shape[:-2])
    except ValueError as error:
        raise ValueError(
            f"boxes1 and boxes2 must have batch dimensions that broadcast, got {list(boxes1.shape)} "
            f"and {list(boxes2.shape)}"
        ) from error
    dtype, count = wide_dtype(boxes1, boxes2), math.prod(batch)
    whole = [dense(np.broadcast_to(boxes, (*batch, *boxes.shape[-2:])), dtype) for boxes in (boxes1, boxes2)]
    flat1, flat2 = (boxes.reshape(count, *boxes.shape[-2:]) for boxes in whole)
    return _numpy.pairwise_iou(flat1, flat2, fmt, kind).reshape(*batch, boxes1.shape[-2], boxes2.shape[-2])


def _read(
    words: str, boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """`words` is the shape of scores and labels, "[N]" or "[B, N]"."""
    dims = words.count(",") + 1
    rows, floats = with_rows(as_floats("boxes", boxes), dims), as_floats("scores", scores)
    check_shape("boxes", rows, words[:-1] + ", 4]", (*[None] * dims, 4))
    check_shape("scores", floats, words, rows.shape[:-1])
    if labels is None:
        return rows, floats, None
    integers = as_integers(labels)
    check_shape("labels", integers, words, rows.shape[:-1])
    return rows, floats, integers


def batched_soft_nms(
    boxes: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike | None = None,
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
        boxes: [B, N, 4], floats or integers.
        scores: [B, N], likewise, after the sigmoid: what is below score_threshold is dropped.
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
        float64 or has integers of 32 bits or more, else float32. Equal scores: the lower index first. A NaN score is
        never selected; a box with a NaN overlaps nothing.

    Raises:
        ValueError: a shape or value does not fit. TypeError: a dtype does not.
    """
    boxes, scores, labels = _read("[B, N]", boxes, scores, labels)
    least = -math.inf if score_threshold is None else score_threshold
    sigma, iou_threshold, least, most = map(as_number, (sigma, iou_threshold, least, max_detections))
    check_nms_rule(method, sigma, iou_threshold, least, fmt)
    check_flag("inclusive", inclusive)
    check_corners(any_corners, fmt)
    if most is None:
        most = -1
    else:
        check_count("max_detections", most, 0)
    dtype = wide_dtype(boxes, scores)
    boxes, scores = dense(boxes, dtype), dense(scores, dtype)
    if any_corners:
        boxes = _order_corners(boxes)
    if max_candidates is not None:
        check_count("max_candidates", as_number(max_candidates), 0)
        scores = _leave_candidates(scores, max_candidates)
    labels = None if labels is None else dense(labels, np.int64)
    rule = method, sigma, iou_threshold, least, most, fmt, bool(inclusive)
    return SoftNMS(*_numpy.soft_nms(boxes, scores, labels, *rule))


def soft_nms(
    boxes: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike | None = None,
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
) -> tuple[np.ndarray, np.ndarray]:
    """batched_soft_nms of one image, cut to its count.

    Args:
        boxes: [N, 4]; [0], too, if there are none. scores: [N]. labels: [N] or None. The rest as in batched_soft_nms.

    Returns:
        indices [K] int64 and decayed scores [K] of the K selected boxes, in order of selection.

    Raises:
        As batched_soft_nms.
    """
    boxes, scores, labels = _read("[N]", boxes, scores, labels)
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
    return indices[0, : counts[0]], decayed[0, : counts[0]]
