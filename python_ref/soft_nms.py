"""Soft-NMS in plain Python: Bodla et al. 2017, figure 2, with the weights of section 3 and one more, mean_gaussian,
which takes the mean of the remaining scores for sigma."""

import math
from collections.abc import Sequence

from python_ref.pairwise_iou import Box, similarity


def weight(iou: float, method: str, sigma: float, iou_threshold: float, inclusive: bool = False) -> float:
    """What selecting a box multiplies the score of another by. Hard NMS removes it: NaN reaches no threshold."""
    if method == "gaussian":
        return math.exp(-iou * iou / sigma)
    reaches = iou >= iou_threshold if inclusive else iou > iou_threshold
    if not reaches or iou == 0:
        return 1.0
    if method == "hard":
        return math.nan
    if method == "linear":
        return 1 - iou
    return math.exp(-iou * iou / sigma) if sigma > 0 else 1.0  # a mean that is not positive lowers nothing


def order_corners(box: Box) -> Box:
    """xyxy, of two corners that lie opposite each other."""
    x1, y1, x2, y2 = box
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def find_candidates(scores: Sequence[float], most: int | None) -> list[int]:
    """Those that take part: all, or the largest of them."""
    best = sorted((i for i in range(len(scores)) if scores[i] == scores[i]), key=lambda i: -scores[i])
    return sorted(best[:most])


class Process:
    """The boxes not yet selected, by index, with their current scores."""

    def __init__(
        self,
        boxes: Sequence[Box],  # [N]
        scores: Sequence[float],  # [N]
        labels: Sequence[float] | None = None,  # [N]
        *,
        method: str = "gaussian",
        sigma: float = 0.5,
        iou_threshold: float = 0.3,
        inclusive: bool = False,
        score_threshold: float | None = 1e-3,
        max_candidates: int | None = None,
        fmt: str = "xyxy",
        any_corners: bool = False,
    ) -> None:
        self.boxes = [order_corners(box) for box in boxes] if any_corners else boxes
        self.labels, self.fmt = labels or [0] * len(boxes), fmt
        self.method, self.sigma, self.iou_threshold, self.inclusive = method, sigma, iou_threshold, inclusive
        self.score_threshold = -math.inf if score_threshold is None else score_threshold
        candidates = find_candidates(scores, max_candidates)
        self.remaining = {i: scores[i] for i in candidates if scores[i] >= self.score_threshold}

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
            self.remaining[i] *= weight(iou, self.method, sigma, self.iou_threshold, self.inclusive)
            if not self.remaining[i] >= self.score_threshold:
                del self.remaining[i]
        return score


def soft_nms(
    boxes: Sequence[Box],  # [N]
    scores: Sequence[float],  # [N]
    labels: Sequence[float] | None = None,  # [N]
    *,
    max_detections: int | None = None,
    **rule: float | str | None,
) -> list[tuple[int, float]]:
    """(index, decayed score) in order of selection."""
    process = Process(boxes, scores, labels, **rule)  # type: ignore[arg-type]  # the keywords of Process
    most = len(boxes) if max_detections is None else max_detections
    selected: list[tuple[int, float]] = []
    while process.remaining and len(selected) < most:
        chosen = process.find_best()
        selected.append((chosen, process.take(chosen)))
    return selected
