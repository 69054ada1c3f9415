"""pairwise_iou, soft_nms and batched_soft_nms of NumPy arrays: the CPU kernels of yolox_ops without torch, for what
ONNX Runtime or OpenCV gives. The answers have the bits of those on tensors of the same values.

Arrays of float32 and float64 are read where they lie if they lie row by row; others are copied once. No result shares
memory with an argument. Other Python threads run meanwhile. A call of much work uses YOLOX_OPS_NUM_THREADS threads, if
that is not set OMP_NUM_THREADS, else one for each CPU that the process may run on; no number of them changes a bit.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from yolox_ops._arguments import FORMATS, KINDS, check_choice, check_count, check_nms_rule, check_shape
from yolox_ops._missing import HOW

try:
    from yolox_ops import _numpy
except ImportError as error:
    raise ImportError(
        f"yolox_ops/_numpy does not load: {error}; {HOW}, where Python.h is (Debian: python3-dev)"
    ) from error

__all__ = ["SoftNMS", "batched_soft_nms", "pairwise_iou", "soft_nms"]

_FLOATS = ("float32", "float64", "float16", "bfloat16")  # the last is ml_dtypes'


class SoftNMS(NamedTuple):
    """What batched_soft_nms returns."""

    indices: np.ndarray  # [B, K] int64, in order of selection, -1 past counts
    scores: np.ndarray  # [B, K] decayed scores, 0 past counts
    counts: np.ndarray  # [B] int64


def _check_array(name: str, array: np.ndarray) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a numpy.ndarray, got {type(array).__name__}")


def _check_float(name: str, array: np.ndarray) -> None:
    _check_array(name, array)
    if array.dtype.name not in _FLOATS:
        raise TypeError(f"{name} must be float32, float64, float16 or bfloat16, got {array.dtype}")


def _dense(array: np.ndarray, dtype: type) -> np.ndarray:
    """The array in a dtype, row by row and aligned, itself if it already is."""
    return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"])


def _wide_dtype(*arrays: np.ndarray) -> type:
    """The dtype that arithmetic runs in: float64 if an input is float64, else float32."""
    return np.float64 if any(array.dtype.name == "float64" for array in arrays) else np.float32


def _number(value: Any) -> Any:
    """A NumPy scalar as Python's; the checks are torch's too, which knows no others."""
    return value.item() if isinstance(value, np.generic) else value


def pairwise_iou(boxes1: np.ndarray, boxes2: np.ndarray, *, fmt: str = "xyxy", kind: str = "iou") -> np.ndarray:
    """Similarity of every box of one set with every box of another, without [M, N] temporaries.

    Args:
        boxes1: [..., M, 4], float32, float64, float16 or bfloat16.
        boxes2: [..., N, 4]; its batch dimensions broadcast with those of boxes1.
        fmt: what a box's numbers are: "xyxy" (two corners), "xywh" (corner and size) or "cxcywh" (centre and size).
        kind: "iou", "giou" (Rezatofighi et al. 2019), "diou" or "ciou" (Zheng et al. 2020).

    Returns:
        [..., M, N], float64 if an input is float64, else float32. Boxes that do not overlap, and boxes of no or
        negative size, have IoU 0; division by 0 in a formula gives 0; a box with a NaN gives NaN.

    Raises:
        ValueError: a shape, fmt or kind does not fit. TypeError: a dtype does not.
    """
    for name, boxes, words in (("boxes1", boxes1, "[..., M, 4]"), ("boxes2", boxes2, "[..., N, 4]")):
        _check_float(name, boxes)
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
    dtype, count = _wide_dtype(boxes1, boxes2), math.prod(batch)
    whole = [_dense(np.broadcast_to(boxes, (*batch, *boxes.shape[-2:])), dtype) for boxes in (boxes1, boxes2)]
    flat1, flat2 = (boxes.reshape(count, *boxes.shape[-2:]) for boxes in whole)
    return _numpy.pairwise_iou(flat1, flat2, fmt, kind).reshape(*batch, boxes1.shape[-2], boxes2.shape[-2])


def _check(words: str, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray | None) -> None:
    """`words` is the shape of scores and labels, "[N]" or "[B, N]"."""
    _check_float("boxes", boxes)
    _check_float("scores", scores)
    check_shape("boxes", boxes, words[:-1] + ", 4]", (*(None for _ in words.split(",")), 4))
    check_shape("scores", scores, words, boxes.shape[:-1])
    if labels is not None:
        _check_array("labels", labels)
        if labels.dtype.kind not in "iu":
            raise TypeError(f"labels must be an integer array, got {labels.dtype}")
        check_shape("labels", labels, words, boxes.shape[:-1])


def batched_soft_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray | None = None,
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
        overlaps nothing.

    Raises:
        ValueError: a shape or value does not fit. TypeError: a dtype does not.
    """
    _check("[B, N]", boxes, scores, labels)
    sigma, iou_threshold, score_threshold = map(_number, (sigma, iou_threshold, score_threshold))
    check_nms_rule(method, sigma, iou_threshold, score_threshold, fmt)
    most = -1
    if max_detections is not None:
        most = _number(max_detections)
        check_count("max_detections", most, 0)
    dtype = _wide_dtype(boxes, scores)
    boxes, scores = _dense(boxes, dtype), _dense(scores, dtype)
    labels = None if labels is None else _dense(labels, np.int64)
    rule = method, sigma, iou_threshold, score_threshold, most, fmt
    return SoftNMS(*_numpy.soft_nms(boxes, scores, labels, *rule))


def soft_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 1e-3,
    max_detections: int | None = None,
    fmt: str = "xyxy",
) -> tuple[np.ndarray, np.ndarray]:
    """batched_soft_nms of one image, cut to its count.

    Args:
        boxes: [N, 4]. scores: [N]. labels: [N] or None. The rest as in batched_soft_nms.

    Returns:
        indices [K] int64 and decayed scores [K] of the K selected boxes, in order of selection.

    Raises:
        As batched_soft_nms.
    """
    _check("[N]", boxes, scores, labels)
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
    return indices[0, : counts[0]], decayed[0, : counts[0]]
