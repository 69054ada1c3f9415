"""explain: why an assignment came out as it did."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from yolox_ops._arguments import check_shape
from yolox_ops._check import check_float, check_integer, computable, wide_dtype
from yolox_ops._files import written_whole
from yolox_ops._missing import needs_extra
from yolox_ops.assignment import Assignment
from yolox_ops.explanation.table import ExplainedGT, ExplainedImage, tell_losses, text
from yolox_ops.ops.dynamic_k_match import dynamic_k_match
from yolox_ops.ops.simota_cost import simota_cost
from yolox_ops.scene import Scene

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MATCHING = ("topk", "k_rounding")  # the keywords of simota that go to dynamic_k_match; simota_cost takes the others


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
        return text(self.images, self.levels)

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
        if which is None:
            which = range(min(8, len(self.images)))
        figure = draw(self.images, self.anchor_points, self.strides, images, class_names, which)
        if path is not None:
            if not Path(path).suffix:
                raise ValueError(f"path must end in a picture's format, as .png, got {str(path)!r}")
            with written_whole(Path(path)) as temporary:
                figure.savefig(temporary)
        return figure


def _checked(assignment: Assignment, scene: Scene, counts: Sequence[int]) -> Assignment:
    """The assignment on the CPU, if it can be one of these images."""
    if not isinstance(assignment, Assignment):
        raise TypeError(f"assignment must be a yolox_ops.Assignment, got {type(assignment).__name__}")
    (B, N, _), G = scene.pred_boxes.shape, scene.gt_boxes.shape[1]
    check_integer("matched_gt", assignment.matched_gt)
    check_shape("matched_gt", assignment.matched_gt, "[B, N]", (B, N))
    check_float("matched_iou", assignment.matched_iou)
    check_shape("matched_iou", assignment.matched_iou, "[B, N]", (B, N))
    check_integer("num_fg", assignment.num_fg)
    check_shape("num_fg", assignment.num_fg, "[B]", (B,))

    given = Assignment(*(computable(t.detach().cpu()) for t in assignment))
    positives = given.fg_mask.sum(1).tolist()
    for b, (count, counted, matched) in enumerate(zip(counts, positives, given.matched_gt, strict=True)):
        if not 0 <= count <= G:
            raise ValueError(f"num_gts must be in [0, {G}], got {count} at image {b}")
        for anchor in ((matched < -1) | (matched >= count)).nonzero()[:1, 0].tolist():
            raise ValueError(
                f"matched_gt must be in [-1, {count}), got {matched[anchor]} at image {b}, anchor {anchor}"
            )
        if given.num_fg[b] != counted:
            raise ValueError(f"num_fg must count the positives, {counted}, got {given.num_fg[b]} at image {b}")
    return given


def explain(
    assignment: Assignment,
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor | None,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None = None,
    **rule: Any,
) -> Explanation:
    """Says of every ground truth how many anchors SimOTA's rule lets it ask for, which it has, and who has the others.

    What was given is read from the assignment, which may be anybody's; what was asked for is computed by the rule. It
    is for looking, not for every step: it copies everything to the CPU, so the host waits for a GPU, and writes out
    SimOTA's matrices [G, N] there, of one image at a time.

    Args:
        assignment: of these anchors and ground truths, on any device.
        others: as for simota, its keywords included.

    Returns:
        Explanation: print it, look into its .images and .gts, or .draw() it. A ground truth whose label is outside
        [0, C) or whose box is not finite asks for nothing and is no error, on the CPU neither.

    Raises:
        ValueError: a shape, device or parameter does not fit; a num_gts is outside [0, G]; a matched_gt is no row of
        its image; a num_fg is not the number of positives. TypeError: a dtype or a keyword does not fit.
    """
    scene = Scene(pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts)
    scene.check()
    counts = [gt_boxes.shape[1]] * len(gt_boxes) if num_gts is None else num_gts.tolist()
    given = _checked(assignment, scene, counts)
    scene = Scene._make(None if t is None else t.cpu() for t in scene.detach())
    labels = scene.gt_labels.tolist()
    scene = scene._replace(gt_labels=computable(scene.gt_labels))
    points, steps, C = scene.anchor_points, scene.strides, cls_logits.shape[-1]

    matching = {name: rule.pop(name) for name in MATCHING if name in rule}
    levels = tuple(steps.unique().tolist())
    images = []
    for b, count in enumerate(counts):
        image = _image(scene, b, count)
        region, asked = _claims(image, rule, matching)
        finite = _finite(image)
        explained = []
        for g, (box, label) in enumerate(zip(image.gt_boxes[0], labels[b][:count], strict=True)):
            mine = given.matched_gt[b] == g
            anchors = mine.nonzero()[:, 0]
            winners, sizes = given.matched_gt[b, asked[g] & ~mine].unique(return_counts=True)
            gt = ExplainedGT(
                image=b,
                row=g,
                label=label,
                box=tuple(box.tolist()),
                region=int(region[g].sum()),
                k=int(asked[g].sum()),
                anchors=anchors,
                per_level=tuple(int((steps[anchors] == level).sum()) for level in levels),
                mean_iou=given.matched_iou[b, anchors].double().mean().item(),
                unasked=int((mine & ~asked[g]).sum()),
                lost=dict(zip(winners.tolist(), sizes.tolist(), strict=True)),
                reason="",
            )
            explained.append(gt if gt.positives else gt._replace(reason=_reason(gt, bool(finite[g]), C, points, steps)))
        images.append(ExplainedImage(b, tuple(explained), len(points), int((asked.sum(0) > 1).sum())))
    return Explanation(tuple(images), levels, points, steps)


def _image(scene: Scene, b: int, count: int) -> Scene:
    """Image b alone, without its padding."""
    return Scene(
        scene.pred_boxes[b : b + 1],
        scene.cls_logits[b : b + 1],
        None if scene.obj_logits is None else scene.obj_logits[b : b + 1],
        scene.anchor_points,
        scene.strides,
        scene.gt_boxes[b : b + 1, :count],
        scene.gt_labels[b : b + 1, :count],
    )


def _claims(image: Scene, rule: dict[str, Any], matching: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Two of [G, N] bool: the anchors in a ground truth's own region, and those that it asks for. Both come from the
    ops, which know the rule, by giving them each ground truth as an image of its own."""
    boxes, labels = image.gt_boxes[0], image.gt_labels[0]
    region, asked = torch.zeros(2, len(boxes), len(image.strides), dtype=torch.bool, device=boxes.device)
    real = (labels >= 0) & (labels < image.cls_logits.shape[-1]) & _finite(image)  # [G]
    boxes, labels = boxes[real], labels[real]

    matrices = simota_cost(*image._replace(gt_boxes=boxes[None], gt_labels=labels[None]), **rule)
    asked[real] = dynamic_k_match(*(matrix.transpose(0, 1) for matrix in matrices), **matching).fg_mask
    # Whatever the predictions: where nothing else costs anything, the penalty tells who is outside.
    rule = {**rule, "cls_weight": 0, "iou_weight": 0, "outside_penalty": 1}
    nothing = image.pred_boxes.new_zeros(len(boxes), len(image.strides), 1)
    alone = Scene(
        pred_boxes=nothing.expand(-1, -1, 4),
        cls_logits=nothing,
        obj_logits=None,
        anchor_points=image.anchor_points,
        strides=image.strides,
        gt_boxes=boxes[:, None],
        gt_labels=0 * labels[:, None],
    )
    region[real] = simota_cost(*alone, **rule).cost[:, 0] == 0
    return region, asked


def _finite(image: Scene) -> Tensor:
    """[G] bool, the ground truths that are finite as the dtype of the arithmetic reads them."""
    return image.gt_boxes[0].to(wide_dtype(image.pred_boxes)).isfinite().all(-1)


def _reason(gt: ExplainedGT, finite: bool, classes: int, anchor_points: Tensor, strides: Tensor) -> str:
    """Why a ground truth without positives has none."""
    if not 0 <= gt.label < classes:
        return f"its label {gt.label} is not in [0, {classes})"
    if any(math.isnan(number) for number in gt.box):
        return "its box holds a NaN"
    if not finite:
        return "its box holds an infinite number"
    if not len(strides):
        return "there are no anchors"
    words = []
    if not gt.region:
        reach = strides[:, None] / 2
        low, high = (anchor_points - reach).amin(0).tolist(), (anchor_points + reach).amax(0).tolist()
        inside = all(a <= c <= b for a, c, b in zip(low, gt.box[:2], high, strict=True))
        centre = f"its centre ({gt.box[0]:g}, {gt.box[1]:g})"
        where = f", though {centre} lies in" if inside else f": {centre} lies outside of"
        area = f"x {low[0]:g} to {high[0]:g}, y {low[1]:g} to {high[1]:g}"
        words.append(f"no anchor in its region{where} the anchors' area, {area}")
    elif not gt.k:
        words.append("k is 0, for its IoUs with the predictions are too small")
    if gt.lost:
        words.append(f"it lost all that it asked for, {tell_losses(gt.lost)}")
    return "; ".join(words)
