"""Soft-NMS in plain Python: Bodla et al. 2017, figure 2, with the weights of section 3 and one more, mean_gaussian,
which takes the mean of the remaining scores for sigma."""

import math
from collections.abc import Sequence

from python_ref.pairwise_iou import Box, similarity


def weight(iou: float, method: str, sigma: float, iou_threshold: float) -> float:
    """What the score of a box is multiplied by when one of IoU `iou` with it is selected; hard NMS removes: NaN."""
    if method == "gaussian":
        return math.exp(-iou * iou / sigma)
    if not iou > iou_threshold:
        return 1.0
    if method == "hard":
        return math.nan
    if method == "linear":
        return 1 - iou
    return math.exp(-iou * iou / sigma) if iou > 0 else 1.0


def soft_nms(
    boxes: Sequence[Box],
    scores: Sequence[float],
    labels: Sequence[int] | None = None,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 1e-3,
    max_detections: int | None = None,
    fmt: str = "xyxy",
) -> list[tuple[int, float]]:
    """(index, decayed score) of the boxes in order of selection."""
    label = [0] * len(boxes) if labels is None else list(labels)
    most = len(boxes) if max_detections is None else max_detections
    # A comparison with NaN is false, so a NaN score drops out here as well.
    remaining = {i: score for i, score in enumerate(scores) if score >= score_threshold}
    selected: list[tuple[int, float]] = []
    while remaining and len(selected) < most:
        chosen = max(remaining, key=lambda i: (remaining[i], -i))
        selected.append((chosen, remaining.pop(chosen)))
        rivals = [i for i in remaining if label[i] == label[chosen]]
        if method == "mean_gaussian" and rivals:
            sigma = sum(remaining[i] for i in rivals) / len(rivals)
        for i in rivals:
            iou = similarity(boxes[chosen], boxes[i], fmt)
            decayed = remaining[i] * weight(0.0 if math.isnan(iou) else iou, method, sigma, iou_threshold)
            if decayed >= score_threshold:
                remaining[i] = decayed
            else:
                del remaining[i]
    return selected
