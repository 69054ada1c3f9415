"""YOLOX (Ge et al. 2021, arXiv 2107.08430) with the layers, names and numbers of Megvii's code."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from yolox_ops._check import check_count, check_float, check_shape, wide_dtype
from yolox_ops.yolox.anchors import STRIDES, anchor_grid
from yolox_ops.yolox.backbone import PAFPN, YOLOFPN
from yolox_ops.yolox.blocks import BaseConv, conv


class Predictions(NamedTuple):
    """What the head says of every anchor, level after level (stride 8, 16, 32), row after row.

    Boxes, anchor points and strides are float32 (float64 for a float64 model): under autocast the logits are of lower
    precision, in which pixels beyond 256 would be rounded.

    Attributes:
        pred_boxes: [B, N, 4], cxcywh in pixels: (raw xy + cell index) * stride, exp(raw wh) * stride.
        cls_logits: [B, N, C].
        obj_logits: [B, N].
        raw_boxes: [B, N, 4], the box as the head gives it, which the L1 loss compares.
        anchor_points: [N, 2], centres of the cells in pixels.
        strides: [N], pixels.
    """

    pred_boxes: Tensor
    cls_logits: Tensor
    obj_logits: Tensor
    raw_boxes: Tensor
    anchor_points: Tensor
    strides: Tensor


class DecoupledHead(nn.Module):
    """One branch for classes, one for boxes and objectness; every level has its own (section 2.1, figure 2)."""

    def __init__(
        self, num_classes: int, channels: tuple[int, ...], hidden: int, *, depthwise: bool = False, act: str = "silu"
    ) -> None:
        super().__init__()
        check_count("num_classes", num_classes, 1)

        def branches() -> nn.ModuleList:
            pairs = ([conv(hidden, hidden, depthwise=depthwise, act=act) for _ in range(2)] for _ in channels)
            return nn.ModuleList(nn.Sequential(*pair) for pair in pairs)

        def outputs(count: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(hidden, count, 1) for _ in channels)

        self.cls_convs, self.reg_convs = branches(), branches()
        self.cls_preds, self.reg_preds, self.obj_preds = outputs(num_classes), outputs(4), outputs(1)
        self.stems = nn.ModuleList(BaseConv(inputs, hidden, 1, act=act) for inputs in channels)
        for name, bias in (*self.cls_preds.named_parameters(), *self.obj_preds.named_parameters()):
            if name.endswith("bias"):
                nn.init.constant_(bias, -math.log(99))  # a score of 0.01, so that background does not swamp the start

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """[B, channels, H / stride, W / stride] of each level -> boxes [B, N, 4], logits [B, N, C] and [B, N]."""
        boxes, classes, objects = [], [], []
        for level, x in enumerate(maps):
            x = self.stems[level](x)
            region = self.reg_convs[level](x)
            boxes.append(self.reg_preds[level](region))
            objects.append(self.obj_preds[level](region))
            classes.append(self.cls_preds[level](self.cls_convs[level](x)))
        flat = [torch.cat([x.flatten(2) for x in levels], 2).transpose(1, 2) for levels in (boxes, classes, objects)]
        return flat[0], flat[1], flat[2].squeeze(2)


class YOLOX(nn.Module):
    """Backbone and head. A call gives the raw predictions; losses and detections come with the trainer.

    Images are [B, 3, H, W] of a floating dtype, BGR in 0..255 without further scaling, as Megvii's checkpoints know
    them; H and W are multiples of 32 and need not be equal.
    """

    def __init__(self, backbone: PAFPN | YOLOFPN, head: DecoupledHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Predictions:
        """As `raw`."""
        return self.raw(images)

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


MODELS = {
    build.__name__: build for build in (yolox_nano, yolox_tiny, yolox_s, yolox_m, yolox_l, yolox_x, yolox_darknet53)
}
