"""What an assigner is called with."""

from typing import NamedTuple

from torch import Tensor

from yolox_ops._arguments import check_shape
from yolox_ops._check import check_float, check_integer, check_same_device
from yolox_ops._transforms import as_pytree

# The first eight arguments of an assigner's op.
SCENE_SCHEMA = (
    "Tensor pred_boxes, Tensor cls_logits, Tensor? obj_logits, Tensor anchor_points, Tensor strides, Tensor gt_boxes, "
    "Tensor gt_labels, Tensor? num_gts"
)


@as_pytree
class Scene(NamedTuple):
    """The eight tensors of an assigner's call, in the order of simota's arguments: `simota(*scene)` is the call. Float
    tensors may be float32, float64, float16 or bfloat16, each its own; integers may be of any width.

    Attributes:
        pred_boxes: [B, N, 4] float, decoded boxes as centre x, centre y, width, height in pixels.
        cls_logits: [B, N, C] float, before the sigmoid.
        obj_logits: [B, N] float, likewise; None for a head without objectness.
        anchor_points: [N, 2] float, centres of the anchors in pixels, (index + 0.5) * stride for YOLOX.
        strides: [N] float, in pixels.
        gt_boxes: [B, G, 4] float, centre x, centre y, width, height in pixels, not corners.
        gt_labels: [B, G] integers in [0, C).
        num_gts: [B] integers: rows of an image at or past it are padding, whatever they hold. None: all G are real.
    """

    pred_boxes: Tensor
    cls_logits: Tensor
    obj_logits: Tensor | None
    anchor_points: Tensor
    strides: Tensor
    gt_boxes: Tensor
    gt_labels: Tensor
    num_gts: Tensor | None = None

    def check(self) -> None:
        """Looks at what a fake tensor has, and not at values, which the CPU kernels check.

        Raises:
            ValueError: a shape or a device does not fit. TypeError: a dtype does not.
        """
        pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts = self
        check_float("pred_boxes", pred_boxes)
        check_shape("pred_boxes", pred_boxes, "[B, N, 4]", (None, None, 4))
        B, N = pred_boxes.shape[:2]
        check_float("cls_logits", cls_logits)
        check_shape("cls_logits", cls_logits, "[B, N, C]", (B, N, None))
        if obj_logits is not None:
            check_float("obj_logits", obj_logits)
            check_shape("obj_logits", obj_logits, "[B, N]", (B, N))
        check_float("anchor_points", anchor_points)
        check_shape("anchor_points", anchor_points, "[N, 2]", (N, 2))
        check_float("strides", strides)
        check_shape("strides", strides, "[N]", (N,))
        check_float("gt_boxes", gt_boxes)
        check_shape("gt_boxes", gt_boxes, "[B, G, 4]", (B, None, 4))
        check_integer("gt_labels", gt_labels)
        check_shape("gt_labels", gt_labels, "[B, G]", (B, gt_boxes.shape[1]))
        if num_gts is not None:
            check_integer("num_gts", num_gts)
            check_shape("num_gts", num_gts, "[B]", (B,))
        check_same_device(
            "pred_boxes",
            pred_boxes,
            cls_logits=cls_logits,
            obj_logits=obj_logits,
            anchor_points=anchor_points,
            strides=strides,
            gt_boxes=gt_boxes,
            gt_labels=gt_labels,
            num_gts=num_gts,
        )

    def detach(self) -> "Scene":
        """The same tensors without their gradients."""
        return Scene._make(None if t is None else t.detach() for t in self)
