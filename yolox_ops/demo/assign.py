"""One batched call of simota, held against the plain torch loop, as a table and a picture."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from yolox_ops import Assignment, simota, simota_cost
from yolox_ops._palette import COLORS
from yolox_ops._table import table
from yolox_ops.demo.loop import dynamic_k, simota_loop
from yolox_ops.yolox.anchors import STRIDES
from yolox_ops.yolox.data.sample import Batch
from yolox_ops.yolox.head import Predictions
from yolox_ops.yolox.targets import Targets

DARK = "#2B2B2B"
OUTLINE = [withStroke(linewidth=3.2, foreground="black")]
MARKERS = {8: ("o", 16.0), 16: ("s", 30.0), 32: ("D", 46.0)}


class Object(NamedTuple):
    """What one ground truth got."""

    image: int
    row: int
    digit: int
    box: Tensor  # [4] cxcywh
    anchors: Tensor  # [P] int64, indices of its positives
    k: int
    iou: float  # mean over its positives, NaN for none


def show_assignment(batch: Batch, predictions: Predictions, path: Path) -> None:
    """Assigns the objects of a batch of square images to the predictions, on their device; prints who got what and how
    the op compares with the plain torch loop, and draws it."""
    p, targets = predictions, batch.targets.to(predictions.strides.device)
    inputs = (p.pred_boxes, p.cls_logits, p.obj_logits, p.anchor_points, p.strides, *targets)
    anchor_points, strides = p.anchor_points.cpu(), p.strides.cpu()

    assignment = simota(*inputs)
    verdict = compare(assignment, simota_loop(*inputs))
    k = dynamic_k(simota_cost(*inputs).iou) if targets.gt_labels.numel() else targets.gt_labels  # [B, G]
    objects = list_objects(batch.targets, Assignment(*(t.cpu() for t in assignment)), k)

    print(table(rows_of(objects, strides)))
    print("k: how many anchors the object asks for; positives: how many no other object had cheaper\n")
    for b in range(len(batch.images)):
        print(summary([o for o in objects if o.image == b], b, len(strides)))
    print(f"\n{verdict}\n")
    fused, loop = interleaved_medians(lambda: simota(*inputs), lambda: simota_loop(*inputs))
    print(f"yolox_ops.simota  {fused * 1e3:8.3f} ms for {len(batch.images)} x {len(strides)} anchors")
    print(f"plain torch loop  {loop * 1e3:8.3f} ms, {loop / fused:.1f} times as long on these small images")

    path.parent.mkdir(parents=True, exist_ok=True)
    draw(batch, objects, anchor_points, strides).savefig(path)


def compare(assignment: Assignment, expected: Assignment) -> str:
    """Says how the op and the loop agree. Where costs nearly tie, float32 rounding may part them; past 1 positive in
    1000 it is an error, which ends the program."""
    positive = assignment.fg_mask | expected.fg_mask  # [B, N]
    same = assignment.matched_gt == expected.matched_gt
    same &= (assignment.matched_iou - expected.matched_iou).abs() < 1e-5
    total, different = int(positive.sum()), int((~same).sum())
    if 1000 * different > total:
        raise SystemExit(f"simota and the plain torch loop disagree: {different} of {total} positives differ")
    return f"simota and the plain torch loop agree: {different} of {total} positives differ"


def interleaved_medians(*calls: Callable[[], object], warmups: int = 3, rounds: int = 20) -> list[float]:
    """Median seconds of each call. Taken in turn, they share whatever else the machine is doing."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(warmups + rounds):
        for call, taken in zip(calls, times, strict=True):
            synchronize()
            start = time.perf_counter()
            call()
            synchronize()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[warmups:]) for taken in times]


def synchronize() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def list_objects(targets: Targets, assignment: Assignment, k: Tensor) -> list[Object]:
    objects = []
    for b, count in enumerate(targets.num_gts.tolist()):
        for g in range(count):
            anchors = (assignment.matched_gt[b] == g).nonzero()[:, 0]
            iou = assignment.matched_iou[b, anchors].mean().item()
            digit = int(targets.gt_labels[b, g])
            objects.append(Object(b, g, digit, targets.gt_boxes[b, g], anchors, int(k[b, g]), iou))
    return objects


def rows_of(objects: Sequence[Object], strides: Tensor) -> list[list[str]]:
    rows = [["image", "object", "digit", "box", "k", "positives", "mean IoU", *(f"stride {s}" for s in STRIDES)]]
    for o in objects:
        width, height = o.box[2:].int().tolist()
        levels = [int((strides[o.anchors] == s).sum()) for s in STRIDES]
        iou = f"{o.iou:.3f}" if len(o.anchors) else "-"
        cells = (o.image, o.row, o.digit, f"{width} x {height}", o.k, len(o.anchors), iou, *levels)
        rows.append([str(cell) for cell in cells])
    return rows


def summary(objects: Sequence[Object], image: int, anchors: int) -> str:
    if not objects:
        return f"image {image}: no objects, all {anchors} anchors are background"
    positives = sum(len(o.anchors) for o in objects)
    lost = sum(o.k for o in objects) - positives
    return f"image {image}: {len(objects)} objects, {positives} of {anchors} anchors positive, {lost} lost to conflicts"


def draw(batch: Batch, objects: Sequence[Object], anchor_points: Tensor, strides: Tensor) -> Figure:
    """Two images a row, each with its objects' labels left and right of it."""
    count, size = len(batch.images), batch.images.shape[-1]
    columns = min(count, 2)
    rows = -(-count // columns)
    cell, head = (8.8, 5.6), 0.95  # inches
    height = rows * cell[1] + head
    figure = Figure(figsize=(columns * cell[0], height), dpi=110, facecolor=DARK)
    FigureCanvasAgg(figure)
    grid = {"left": 0, "right": 1, "bottom": 0.1 / height, "top": 1 - head / height, "wspace": 0, "hspace": 0.02}
    panels = figure.subplots(rows, columns, squeeze=False, gridspec_kw=grid).flat
    for b, axes in enumerate(panels):
        axes.set_axis_off()
        if b < count:
            mine = [o for o in objects if o.image == b]
            draw_image(axes, batch.images[b], mine, anchor_points, strides, size)

    handles = [
        Line2D([], [], ls="", marker=m, ms=area**0.5, mfc="#BBBBBB", mec="black", label=f"positive anchor, stride {s}")
        for s, (m, area) in MARKERS.items()
    ]
    title = "SimOTA: of the k anchors that a digit asks for, those it received, and the mean IoU of their predictions"
    note = "An anchor need not lie in the box: within 1.5 strides of the centre it is a candidate."
    figure.text(0.5, 1 - 0.22 / height, title, ha="center", va="center", color="white", fontsize=13)
    figure.text(0.5, 1 - 0.46 / height, note, ha="center", va="center", color="#BBBBBB", fontsize=11)
    top = (0.5, 1 - 0.56 / height)
    figure.legend(
        handles=handles, loc="upper center", bbox_to_anchor=top, ncols=3, frameon=False, labelcolor="white", fontsize=11
    )
    return figure


def draw_image(
    axes: Axes, image: Tensor, objects: Sequence[Object], anchor_points: Tensor, strides: Tensor, size: int
) -> None:
    axes.imshow(image.permute(1, 2, 0).flip(-1).numpy(), extent=(0, size, size, 0))
    axes.set(xlim=(-0.29 * size, 1.29 * size), ylim=(size, 0))
    for o in objects:
        color = COLORS[o.row % len(COLORS)]
        (left, top), (width, height) = (o.box[:2] - o.box[2:] / 2).tolist(), o.box[2:].tolist()
        axes.add_patch(Rectangle((left, top), width, height, fill=False, lw=1.8, ec=color, path_effects=OUTLINE))
        for stride, (marker, area) in MARKERS.items():
            x, y = anchor_points[o.anchors[strides[o.anchors] == stride]].T
            axes.scatter(x, y, s=area, c=color, marker=marker, edgecolors="black", linewidths=0.8, zorder=3)
    if not objects:
        text = f"no objects:\nall {len(strides)} anchors are background"
        axes.text(size / 2, size / 2, text, ha="center", va="center", fontsize=13, color="white", bbox={"fc": DARK})

    label_side(axes, [o for o in objects if o.box[0] < size / 2], size, left=True)
    label_side(axes, [o for o in objects if o.box[0] >= size / 2], size, left=False)


def label_side(axes: Axes, objects: Sequence[Object], size: int, *, left: bool) -> None:
    """Writes labels in the margin, each level with its object where there is room, and leads a line to its box."""
    ranked = sorted(objects, key=lambda o: float(o.box[1]))
    levels = spread([float(o.box[1]) for o in ranked], 0.105 * size, 0.05 * size, 0.95 * size)
    for o, level in zip(ranked, levels, strict=True):
        color = COLORS[o.row % len(COLORS)]
        text = f"digit {o.digit}: {len(o.anchors)} of k = {o.k}" + (f"\nIoU {o.iou:.2f}" if len(o.anchors) else "")
        x, align, outwards = (-0.03 * size, "right", -1) if left else (1.03 * size, "left", 1)
        frame = {"fc": DARK, "ec": color, "lw": 1.8}
        ends = [x, float(o.box[0] + outwards * o.box[2] / 2)], [level, float(o.box[1])]
        axes.plot(*ends, color=color, lw=1.2, path_effects=OUTLINE)
        axes.text(x, level, text, ha=align, va="center", ma=align, color="white", fontsize=10.5, bbox=frame)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves ascending positions apart to `gap`, first down from `low`, then back up from `high`."""
    levels = list(wanted)
    for i in range(len(levels)):
        levels[i] = max(levels[i], low if i == 0 else levels[i - 1] + gap)
    for i in reversed(range(len(levels))):
        levels[i] = min(levels[i], high if i == len(levels) - 1 else levels[i + 1] - gap)
    return levels
