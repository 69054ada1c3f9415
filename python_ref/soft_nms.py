"""Soft-NMS in plain Python: Bodla et al. 2017, figure 2, with the weights of section 3 and one more, mean_gaussian,
which takes the mean of the remaining scores for sigma."""

import math
from collections.abc import Sequence

from python_ref.pairwise_iou import Box, similarity


def weight(iou: float, method: str, sigma: float, iou_threshold: float) -> float:
    """What selecting a box multiplies the score of another by. Hard NMS removes it: NaN reaches no threshold."""
    if method == "gaussian":
        return math.exp(-iou * iou / sigma)
    if not iou > iou_threshold:
        return 1.0
    if method == "hard":
        return math.nan
    if method == "linear":
        return 1 - iou
    return math.exp(-iou * iou / sigma) if sigma > 0 else 1.0  # a mean that is not positive lowers nothing


class Process:
    """The boxes not yet selected, by index, with their current scores."""

    def __init__(
        self,
        boxes: Sequence[Box],  # [N]
        scores: Sequence[float],  # [N]
        labels: Sequence[int] | None = None,  # [N]
        *,
        method: str = "gaussian",
        sigma: float = 0.5,
        iou_threshold: float = 0.3,
        score_threshold: float = 1e-3,
        fmt: str = "xyxy",
    ) -> None:
        self.boxes, self.labels, self.fmt = boxes, labels or [0] * len(boxes), fmt
        self.method, self.sigma, self.iou_threshold = method, sigma, iou_threshold
        self.score_threshold = score_threshold
        # A comparison with NaN is false, so a NaN score drops out here as well.
        self.remaining = {i: score for i, score in enumerate(scores) if score >= score_threshold}

    def find_best(self) -> int:
        return max(self.remaining, key=lambda i: (self.remaining[i], -i))

    def take(self, chosen: int) -> float:
        """Takes the box out, lowers the scores of its rivals and returns its own."""
        score = self.remaining.pop(chosen)
        rivals = [i for i in self.remaining if self.labels[i] == self.labels[chosen]]
        sigma = self.sigma
        if self.method == "mean_gaussian" and rivals:
            sigma = sum(self.remaining[i] for i in rivals) / len(rivals)
        for i in rivals:
            iou = similarity(self.boxes[chosen], self.boxes[i], self.fmt)
            if math.isnan(iou):
                iou = 0.0
            self.remaining[i] *= weight(iou, self.method, sigma, self.iou_threshold)
            if not self.remaining[i] >= self.score_threshold:
                del self.remaining[i]
        return score


def soft_nms(
    boxes: Sequence[Box],  # [N]
    scores: Sequence[float],  # [N]
    labels: Sequence[int] | None = None,  # [N]
    *,
    max_detections: int | None = None,
    **rule: float | str,
) -> list[tuple[int, float]]:
    """(index, decayed score) in order of selection."""
    process = Process(boxes, scores, labels, **rule)  # type: ignore[arg-type]  # the keywords of Process
    most = len(boxes) if max_detections is None else max_detections
    selected: list[tuple[int, float]] = []
    while process.remaining and len(selected) < most:
        chosen = process.find_best()
        selected.append((chosen, process.take(chosen)))
    return selected
