"""YOLOX (Ge et al. 2021, arXiv 2107.08430) with the layers, names and numbers of Megvii's code."""

from typing import Any

import torch
from torch import Tensor, nn

from yolox_ops._arguments import check_shape
from yolox_ops._check import check_float, wide_dtype
from yolox_ops.yolox.anchors import STRIDES, anchor_grid
from yolox_ops.yolox.backbone import PAFPN, YOLOFPN
from yolox_ops.yolox.detections import Detections, detect
from yolox_ops.yolox.head import DecoupledHead, Predictions
from yolox_ops.yolox.loss import YOLOXLoss, yolox_loss
from yolox_ops.yolox.targets import Targets


class YOLOX(nn.Module):
    """Backbone and head: images in, detections or losses out.

    Images are [B, 3, H, W] of a floating dtype, BGR in 0..255 without further scaling, as Megvii's checkpoints know
    them; H and W are multiples of 32 and need not be equal.
    """

    def __init__(self, backbone: PAFPN | YOLOFPN, head: DecoupledHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(
        self, images: Tensor, targets: Targets | None = None, *, l1: bool = False, **options: Any
    ) -> Detections | YOLOXLoss:
        """Detections without targets, the losses with them. Call eval() before you detect, train() before you train.

        Args:
            images: [B, 3, H, W].
            targets: the objects of each image, as simota takes them; `Targets.pad` makes them from lists.
            l1: with targets: turn the L1 term on, as YOLOX does in its last epochs.
            options: of `yolox_ops.yolox.detections` without targets, of `yolox_ops.yolox_loss` with them.

        Raises:
            What `raw` raises, and detect or yolox_loss.
        """
        p = self.raw(images)
        if targets is None:
            return detect(p, **options)
        raw_boxes = p.raw_boxes if l1 else None
        grid = (p.anchor_points, p.strides)
        return yolox_loss(p.pred_boxes, p.cls_logits, p.obj_logits, *grid, *targets, raw_boxes=raw_boxes, **options)

    def raw(self, images: Tensor) -> Predictions:
        """Decoded boxes and logits, what simota and yolox_loss take.

        Raises:
            ValueError: images is not [B, 3, H, W] with H and W multiples of 32. TypeError: its dtype is not floating.
        """
        check_float("images", images)
        check_shape("images", images, "[B, 3, H, W]", (None, 3, None, None))
        height, width = images.shape[2:]
        if height < 1 or width < 1 or height % STRIDES[-1] or width % STRIDES[-1]:
            raise ValueError(
                f"images must be [B, 3, H, W] with H and W multiples of {STRIDES[-1]}, got {list(images.shape)}"
            )
        raw_boxes, cls_logits, obj_logits = self.head(self.backbone(images))
        raw_boxes = raw_boxes.to(wide_dtype(raw_boxes))
        points, strides = anchor_grid(height, width, device=raw_boxes.device, dtype=raw_boxes.dtype)
        step = strides[:, None]
        centre = (raw_boxes[..., :2] + (points / step - 0.5)) * step
        pred_boxes = torch.cat([centre, raw_boxes[..., 2:].exp() * step], -1)
        return Predictions(pred_boxes, cls_logits, obj_logits, raw_boxes, points, strides)

    def decode(self, images: Tensor) -> Tensor:
        """[B, N, 5 + C]: cx, cy, w, h in pixels, sigmoid of objectness, sigmoid of each class; in eval mode Megvii's
        output in inference. Raises what `raw` raises."""
        p = self.raw(images)
        return torch.cat([p.pred_boxes, p.obj_logits[..., None].sigmoid(), p.cls_logits.sigmoid()], -1)


def _yolox(depth: float, width: float, num_classes: int, *, depthwise: bool = False) -> YOLOX:
    backbone = PAFPN(depth, width, depthwise=depthwise)
    return YOLOX(backbone, DecoupledHead(num_classes, backbone.channels, int(256 * width), depthwise=depthwise))


def yolox_nano(num_classes: int = 80) -> YOLOX:
    """0.91 million parameters at 80 classes, for 416 x 416; depthwise convolutions."""
    return _yolox(0.33, 0.25, num_classes, depthwise=True)


def yolox_tiny(num_classes: int = 80) -> YOLOX:
    """5.06 million parameters at 80 classes, for 416 x 416."""
    return _yolox(0.33, 0.375, num_classes)


def yolox_s(num_classes: int = 80) -> YOLOX:
    """8.97 million parameters at 80 classes, for 640 x 640 as all that follow."""
    return _yolox(0.33, 0.50, num_classes)


def yolox_m(num_classes: int = 80) -> YOLOX:
    """25.3 million parameters at 80 classes."""
    return _yolox(0.67, 0.75, num_classes)


def yolox_l(num_classes: int = 80) -> YOLOX:
    """54.2 million parameters at 80 classes."""
    return _yolox(1.0, 1.0, num_classes)


def yolox_x(num_classes: int = 80) -> YOLOX:
    """99.1 million parameters at 80 classes."""
    return _yolox(1.33, 1.25, num_classes)


def yolox_darknet53(num_classes: int = 80) -> YOLOX:
    """63.7 million parameters at 80 classes; YOLOv3's backbone, leaky ReLU."""
    return YOLOX(YOLOFPN(), DecoupledHead(num_classes, YOLOFPN.channels, 256, act="lrelu"))


SMALL = ("yolox_nano", "yolox_tiny")  # trained at 416 x 416, the others at 640 x 640
MODELS = {
    build.__name__: build for build in (yolox_nano, yolox_tiny, yolox_s, yolox_m, yolox_l, yolox_x, yolox_darknet53)
}


def input_size(name: str) -> int:
    """Side in pixels of the square images that Megvii trains a model of MODELS on."""
    return 416 if name in SMALL else 640
