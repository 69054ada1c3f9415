"""An explanation in words: what each ground truth asked for and got, as a table with a line for each image."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

KEY = "region: anchors near a gt; k: those that it asks for; unasked: positives beyond those; lost: those others have"


class ExplainedGT(NamedTuple):
    """What one ground truth asked for by the rule, and what the assignment gave it.

    Attributes:
        image, row: which it is.
        label: its class.
        box: cx, cy, w, h in pixels.
        region: anchors in its own region, where it pays no outside_penalty.
        k: anchors that it asks for, no more than its image has candidates; 0 also for a label outside of [0, C) and a
            box that is not finite.
        anchors: [P] int64, its positives, ascending.
        per_level: its positives of each of Explanation.levels.
        mean_iou: mean matched_iou of its positives, NaN for none.
        unasked: positives that it had not asked for. simota gives it those that several others asked for and that
            cost least with it.
        lost: of the anchors that it asked for, how many each other row has; under -1 those that are background, which
            simota leaves none.
        reason: why it has no positives; empty where it has some.
    """

    image: int
    row: int
    label: int
    box: tuple[float, float, float, float]
    region: int
    k: int
    anchors: Tensor
    per_level: tuple[int, ...]
    mean_iou: float
    unasked: int
    lost: Mapping[int, int]
    reason: str

    @property
    def positives(self) -> int:
        return len(self.anchors)


class ExplainedImage(NamedTuple):
    """The ground truths of one image.

    Attributes:
        image: its index in the batch.
        gts: without padding.
        anchors: how many there are, positive or not.
        conflicts: anchors that several ground truths asked for.
    """

    image: int
    gts: tuple[ExplainedGT, ...]
    anchors: int
    conflicts: int

    @property
    def positives(self) -> int:
        return sum(gt.positives for gt in self.gts)

    def __str__(self) -> str:
        """A line of sums, and one more for each ground truth without anchors."""
        return "\n".join(
            [
                _sums(f"image {self.image}", [self]),
                *(f"  gt {gt.row} has none: {gt.reason}" for gt in self.gts if not gt.positives),
            ]
        )


def text(images: Sequence[ExplainedImage], levels: Sequence[float]) -> str:
    """A table of the ground truths, a line for each image, and what looks like a mistake in the arguments."""
    gts = [gt for image in images for gt in image.gts]
    strides = [f"stride {stride:g}" for stride in levels]
    rows = [["image", "gt", "label", "box", "region", "k", "positives", *strides, "mean IoU", "unasked", "lost"]]
    for gt in gts:
        box = f"{gt.box[2]:.1f} x {gt.box[3]:.1f}"
        iou = f"{gt.mean_iou:.3f}" if gt.positives else "-"
        cells = (gt.image, gt.row, gt.label, box, gt.region, gt.k, gt.positives, *gt.per_level, iou, gt.unasked)
        rows.append([*map(str, cells), tell_losses(gt.lost) or "-"])
    total = [_sums("batch", images)] if len(images) > 1 else []
    return "\n".join([table(rows), KEY, "", *map(str, images), *total, *_doubts(gts)])


def _doubts(gts: Sequence[ExplainedGT]) -> list[str]:
    """What looks like a mistake in the arguments."""
    doubts = []
    if any(-1 in gt.lost for gt in gts):
        doubts.append("lost to background: the assignment is of another rule, or of other num_gts")
    if gts and all(max(gt.box[2:]) <= 1 for gt in gts):
        doubts.append("no box is larger than 1 x 1 pixels: are they in [0, 1]?")
    return doubts


def tell_losses(lost: Mapping[int, int]) -> str:
    """ExplainedGT.lost in words."""
    return ", ".join(f"{n} to " + (f"gt {row}" if row >= 0 else "background") for row, n in lost.items())


def _sums(subject: str, images: Sequence[ExplainedImage]) -> str:
    gts = [gt for image in images for gt in image.gts]
    anchors = sum(image.anchors for image in images)
    if not gts:
        return f"{subject}: no ground truths, all {anchors} anchors are background"
    counts = {
        "gts": len(gts),
        "anchors asked for": sum(gt.k for gt in gts),
        "positives": f"{sum(gt.positives for gt in gts)} of {anchors}",
        "conflicts": sum(image.conflicts for image in images),
        "gts without anchors": sum(not gt.positives for gt in gts),
    }
    return f"{subject}: " + ", ".join(f"{name} {count}" for name, count in counts.items())


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as lines of equal length, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
