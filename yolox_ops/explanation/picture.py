"""An explanation as a picture: every ground truth with its positive anchors."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from yolox_ops._arguments import check_shape
from yolox_ops._check import check_float, check_tensor
from yolox_ops.explanation.palette import COLORS
from yolox_ops.explanation.table import ExplainedGT, ExplainedImage

DARK, PALE = "#2B2B2B", "#BBBBBB"
OUTLINE = [withStroke(linewidth=3.2, foreground="black")]
SHAPES = "osD^vPX*"  # the markers of the levels, each larger than the one before
SIDE, MARGIN, GAP = 5.6, 1.6, 0.05  # inches: an image's longer side, labels on either side of it, between rows
FONT = 10.5  # of the labels, in points
LABEL = 0.59  # inches from one label to the next


def draw(
    explained: Sequence[ExplainedImage],  # B
    anchor_points: Tensor,  # [N, 2]
    strides: Tensor,  # [N]
    images: Tensor,  # [B, 3, H, W]
    class_names: Sequence[str] | None,
    which: Sequence[int],
) -> Figure:
    """Two images a row, each with the labels of its ground truths left and right of it; see Explanation.draw."""
    count, levels = len(explained), strides.unique().tolist()
    check_tensor("images", images)
    check_shape("images", images, "[B, 3, H, W]", (count, 3, None, None))
    if not which or not all(0 <= b < count for b in which):
        raise ValueError(f"which must name one or more images in [0, {count}), got {list(which)}")
    pictures = _rgb(images[list(which)])
    H, W = pictures.shape[1:3]
    inch = max(H, W) / SIDE  # of the picture, in pixels of the image
    columns = min(len(which), 2)
    rows = -(-len(which) // columns)
    width = columns * (W / inch + 2 * MARGIN)
    legend_columns = max(int(width / 2.3), 1)
    head = 0.65 + 0.3 * math.ceil(len(levels) / legend_columns)
    height = head + rows * (H / inch + GAP)

    figure = Figure(figsize=(width, height), dpi=110, facecolor=DARK)
    FigureCanvasAgg(figure)
    for i, b in enumerate(which):
        row, column = divmod(i, columns)
        bottom = height - head - row * (H / inch + GAP) - H / inch
        axes = figure.add_axes((column / columns, bottom / height, 1 / columns, H / inch / height))
        axes.set_axis_off()
        axes.imshow(pictures[i], extent=(0, W, H, 0), aspect="auto")
        axes.set(xlim=(-MARGIN * inch, W + MARGIN * inch), ylim=(H, 0))
        _draw_gts(axes, explained[b], anchor_points, strides, class_names, (H, W), inch)

    small = min(width / 9.5, 1)
    title = "Of the k anchors that a ground truth asks for, those it received, and the mean IoU of their predictions"
    note = "An anchor need not lie in the box: near its centre it is a candidate."
    figure.text(0.5, 1 - 0.22 / height, title, ha="center", va="center", color="white", fontsize=12.5 * small)
    figure.text(0.5, 1 - 0.46 / height, note, ha="center", va="center", color=PALE, fontsize=11 * small)
    figure.legend(
        handles=[
            Line2D([], [], ls="", marker=m, ms=area**0.5, mfc=PALE, mec="black", label=f"positive anchor, stride {s:g}")
            for s, m, area in _markers(levels)
        ],
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.56 / height),
        ncols=legend_columns,
        frameon=False,
        labelcolor="white",
        fontsize=11,
    )
    return figure


def _rgb(images: Tensor) -> np.ndarray:
    """[b, H, W, 3] uint8."""
    if images.dtype != torch.uint8:
        check_float("images that are not uint8", images)
        images = images.detach().float()
        low, high = images.min().item(), images.max().item()
        if not 0 <= low <= high <= 255:
            raise ValueError(f"images must be in 0..255, or all in 0..1, got {low} to {high}: undo a normalisation")
        images = (images * (255 if high <= 1 else 1)).round().byte()
    return images.cpu().permute(0, 2, 3, 1).flip(-1).numpy()


def _markers(levels: Sequence[float]) -> list[tuple[float, str, float]]:
    """Stride, shape and area of each level's marker."""
    return [(level, SHAPES[i % len(SHAPES)], 16.0 + 15 * i) for i, level in enumerate(levels)]


def _draw_gts(
    axes: Axes,
    image: ExplainedImage,
    anchor_points: Tensor,  # [N, 2]
    strides: Tensor,  # [N]
    class_names: Sequence[str] | None,
    size: tuple[int, int],
    inch: float,
) -> None:
    H, W = size
    gts = [gt for gt in image.gts if all(map(math.isfinite, gt.box))]  # others have no place
    for gt in gts:
        cx, cy, w, h = gt.box
        color = _color(gt)
        box = Rectangle((cx - w / 2, cy - h / 2), w, h, fill=False, lw=1.8, ec=color, path_effects=OUTLINE)
        axes.add_patch(box).set_clip_path(Rectangle((0, 0), W, H, transform=axes.transData))
        for stride, marker, area in _markers(strides.unique().tolist()):
            x, y = anchor_points[gt.anchors[strides[gt.anchors] == stride]].float().T
            axes.scatter(x, y, s=area, c=color, marker=marker, edgecolors="black", linewidths=0.8, zorder=3)
    if not image.gts:
        text = f"no ground truths:\nall {image.anchors} anchors are background"
        axes.text(W / 2, H / 2, text, ha="center", va="center", fontsize=13, color="white", bbox={"fc": DARK})
    _label_side(axes, [gt for gt in gts if gt.box[0] < W / 2], class_names, size, inch, left=True)
    _label_side(axes, [gt for gt in gts if not gt.box[0] < W / 2], class_names, size, inch, left=False)


def _color(gt: ExplainedGT) -> str:
    return COLORS[gt.row % len(COLORS)]


def _label_side(
    axes: Axes,
    gts: Sequence[ExplainedGT],
    class_names: Sequence[str] | None,
    size: tuple[int, int],
    inch: float,
    *,
    left: bool,
) -> None:
    """Writes labels in the margin, each level with its box where there is room, and leads a line to its box. Labels
    that would need more than the height are smaller."""
    H, W = size
    ranked = sorted(gts, key=lambda gt: gt.box[1])
    small = min(H / inch / (LABEL * max(len(ranked), 1)), 1)
    gap = small * LABEL * inch
    levels = spread([gt.box[1] for gt in ranked], gap, gap / 2, H - gap / 2)
    for gt, level in zip(ranked, levels, strict=True):
        cx, cy, w, _ = gt.box
        known = class_names is not None and 0 <= gt.label < len(class_names)
        name = class_names[gt.label] if class_names is not None and known else f"class {gt.label}"
        text = f"{name}: {gt.positives} of k = {gt.k}" + (f"\nIoU {gt.mean_iou:.2f}" if gt.positives else "")
        x, align, edge = (-0.17 * inch, "right", cx - w / 2) if left else (W + 0.17 * inch, "left", cx + w / 2)
        frame = {"fc": DARK, "ec": _color(gt), "lw": 1.8 * small}
        end = min(max(edge, 0), W), min(max(cy, 0), H)
        axes.plot([x, end[0]], [level, end[1]], color=_color(gt), lw=1.2, path_effects=OUTLINE)
        axes.text(x, level, text, ha=align, va="center", ma=align, color="white", fontsize=FONT * small, bbox=frame)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves ascending positions apart to `gap`, first down from `low`, then back up from `high`."""
    levels = list(wanted)
    for i in range(len(levels)):
        levels[i] = max(levels[i], low if i == 0 else levels[i - 1] + gap)
    for i in reversed(range(len(levels))):
        levels[i] = min(levels[i], high if i == len(levels) - 1 else levels[i + 1] - gap)
    return levels
