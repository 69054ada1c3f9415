"""Similarity of boxes in pairs, in plain Python."""

from collections.abc import Sequence

from python_ref.pairwise_iou import Box, similarity


def aligned_iou(
    boxes1: Sequence[Box],  # [N]
    boxes2: Sequence[Box],  # [N]
    fmt: str = "xyxy",
    kind: str = "iou",
) -> list[float]:
    """[N]."""
    return [similarity(box1, box2, fmt, kind) for box1, box2 in zip(boxes1, boxes2, strict=True)]
