"""YOLOX's decoupled head (Ge et al. 2021, arXiv 2107.08430, section 2.1) and what it says of every anchor."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from yolox_ops._arguments import check_count
from yolox_ops._transforms import as_pytree
from yolox_ops.yolox.blocks import BaseConv, conv


@as_pytree
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
    """One branch for classes, one for boxes and objectness; every level has its own (figure 2)."""

    def __init__(
        self, num_classes: int, channels: tuple[int, ...], hidden: int, *, depthwise: bool = False, act: str = "silu"
    ) -> None:
        super().__init__()
        num_classes = check_count("num_classes", num_classes, 1)

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
