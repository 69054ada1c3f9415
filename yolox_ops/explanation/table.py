"""What `explain` returns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from yolox_ops._files import written_whole
from yolox_ops._table import table
from yolox_ops.trainer.options import needs_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEY = "region: anchors near a gt; k: those that it asks for; unasked: positives beyond those; lost: those others have"


class ExplainedGT(NamedTuple):
    """What one ground truth asked for by the rule, and what the assignment gave it.

    Attributes:
        image, row: which it is.
        label: its class.
        box: cx, cy, w, h in pixels.
        region: anchors in its own region, where it pays no outside_penalty.
        k: anchors that it asks for, no more than its image has candidates; 0 also for a label outside of [0, C) and a
            box with a NaN.
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


class Explanation(NamedTuple):
    """What explain returns; str() makes it a table of the ground truths and a line for each image.

    Attributes:
        images: B of them.
        levels: the distinct strides, ascending.
        anchor_points: [N, 2]. strides: [N]. Both on the CPU.
    """

    images: tuple[ExplainedImage, ...]
    levels: tuple[float, ...]
    anchor_points: Tensor
    strides: Tensor

    @property
    def gts(self) -> list[ExplainedGT]:
        """Those of all images."""
        return [gt for image in self.images for gt in image.gts]

    def __str__(self) -> str:
        levels = [f"stride {stride:g}" for stride in self.levels]
        rows = [["image", "gt", "label", "box", "region", "k", "positives", *levels, "mean IoU", "unasked", "lost"]]
        for gt in self.gts:
            box = f"{gt.box[2]:.1f} x {gt.box[3]:.1f}"
            iou = f"{gt.mean_iou:.3f}" if gt.positives else "-"
            cells = (gt.image, gt.row, gt.label, box, gt.region, gt.k, gt.positives, *gt.per_level, iou, gt.unasked)
            rows.append([*map(str, cells), places(gt.lost) or "-"])
        total = [_sums("batch", self.images)] if len(self.images) > 1 else []
        return "\n".join([table(rows), KEY, "", *map(str, self.images), *total, *self._doubts()])

    def _doubts(self) -> list[str]:
        """What looks like a mistake in the arguments."""
        doubts = []
        if any(-1 in gt.lost for gt in self.gts):
            doubts.append("lost to background: the assignment is of another rule, or of other num_gts")
        if self.gts and all(max(gt.box[2:]) <= 1 for gt in self.gts):
            doubts.append("no box is larger than 1 x 1 pixels: are they in [0, 1]?")
        return doubts

    def draw(
        self,
        images: Tensor,
        path: Path | str | None = None,
        *,
        class_names: Sequence[str] | None = None,
        which: Sequence[int] | None = None,
    ) -> "Figure":
        """Draws every ground truth with its positives, their number of k and their mean IoU. It needs matplotlib.

        Args:
            images: [B, 3, H, W], what the model saw, in pixels of the boxes; BGR. uint8, or float in 0..255; floats
                that are all within 0..1 count as 0..1.
            path: where to write the picture, in the format of its suffix; folders are made. None: nowhere.
            class_names: one for each class. None: "class 3".
            which: images to draw, by index. None: the first 8.

        Returns:
            The matplotlib Figure, which belongs to no window.

        Raises:
            ValueError: images has another shape or range, `which` names none or one that is not there, or path has no
            suffix. TypeError:
            images is neither uint8 nor float. ModuleNotFoundError: no matplotlib.
        """
        with needs_extra("drawing", "train", ("matplotlib",), ModuleNotFoundError):
            from yolox_ops.explanation.picture import draw
        figure = draw(self, images, class_names, range(min(8, len(self.images))) if which is None else which)
        if path is not None:
            if not Path(path).suffix:
                raise ValueError(f"path must end in a picture's format, as .png, got {str(path)!r}")
            with written_whole(Path(path)) as temporary:
                figure.savefig(temporary)
        return figure


def places(lost: Mapping[int, int]) -> str:
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
