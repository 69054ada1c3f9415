"""Backbones with their feature pyramids: images in, maps of stride 8, 16 and 32 out.

CSPDarknet with PAFPN is YOLOX-Nano to YOLOX-X (Ge et al. 2021, arXiv 2107.08430, section 2.2); Darknet-53 with an
upward pyramid is YOLOX-DarkNet53 (section 2.1, after YOLOv3-SPP). Attributes carry Megvii's names.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yolox_ops.yolox.blocks import BaseConv, CSPLayer, Focus, ResLayer, SPPBottleneck, conv

Maps = tuple[Tensor, Tensor, Tensor]


def join_upsampled(coarse: Tensor, fine: Tensor) -> Tensor:
    """`coarse` at twice its height and width, nearest neighbour, before `fine` in the channels."""
    return torch.cat([F.interpolate(coarse, scale_factor=2.0, mode="nearest"), fine], 1)


class Stages(nn.Module):
    """A stem and four stages; the last three give the maps of stride 8, 16 and 32."""

    stem: nn.Module
    dark2: nn.Module
    dark3: nn.Module
    dark4: nn.Module
    dark5: nn.Module

    def forward(self, images: Tensor) -> Maps:
        c3 = self.dark3(self.dark2(self.stem(images)))
        c4 = self.dark4(c3)
        return c3, c4, self.dark5(c4)


class CSPDarknet(Stages):
    """Maps of 256, 512 and 1024 times `width` channels; `depth` scales the number of bottlenecks."""

    def __init__(self, depth: float, width: float, *, depthwise: bool = False) -> None:
        super().__init__()
        channels = int(64 * width)
        repeats = max(round(3 * depth), 1)

        def stage(inputs: int, repeats: int) -> nn.Sequential:
            return nn.Sequential(
                conv(inputs, 2 * inputs, 2, depthwise=depthwise),
                CSPLayer(2 * inputs, 2 * inputs, repeats, depthwise=depthwise),
            )

        self.stem = Focus(3, channels)
        self.dark2 = stage(channels, repeats)
        self.dark3 = stage(2 * channels, 3 * repeats)
        self.dark4 = stage(4 * channels, 3 * repeats)
        self.dark5 = nn.Sequential(
            conv(8 * channels, 16 * channels, 2, depthwise=depthwise),
            SPPBottleneck(16 * channels, 16 * channels),
            CSPLayer(16 * channels, 16 * channels, repeats, shortcut=False, depthwise=depthwise),
        )


class PAFPN(nn.Module):
    """CSPDarknet, then a pyramid from coarse to fine and back to coarse, of the same channels."""

    def __init__(self, depth: float, width: float, *, depthwise: bool = False) -> None:
        super().__init__()
        fine, middle, coarse = (int(channels * width) for channels in (256, 512, 1024))

        def csp(inputs: int, outputs: int) -> CSPLayer:
            return CSPLayer(inputs, outputs, round(3 * depth), shortcut=False, depthwise=depthwise)

        self.backbone = CSPDarknet(depth, width, depthwise=depthwise)
        self.lateral_conv0 = BaseConv(coarse, middle, 1)
        self.C3_p4 = csp(2 * middle, middle)
        self.reduce_conv1 = BaseConv(middle, fine, 1)
        self.C3_p3 = csp(2 * fine, fine)
        self.bu_conv2 = conv(fine, fine, 2, depthwise=depthwise)
        self.C3_n3 = csp(2 * fine, middle)
        self.bu_conv1 = conv(middle, middle, 2, depthwise=depthwise)
        self.C3_n4 = csp(2 * middle, coarse)
        self.channels = (fine, middle, coarse)

    def forward(self, images: Tensor) -> Maps:
        c3, c4, c5 = self.backbone(images)
        top = self.lateral_conv0(c5)
        lateral = self.reduce_conv1(self.C3_p4(join_upsampled(top, c4)))
        p3 = self.C3_p3(join_upsampled(lateral, c3))
        p4 = self.C3_n3(torch.cat([self.bu_conv2(p3), lateral], 1))
        p5 = self.C3_n4(torch.cat([self.bu_conv1(p4), top], 1))
        return p3, p4, p5


class Darknet53(Stages):
    """Darknet-53 with spatial pyramid pooling at its end: maps of 256, 512 and 512 channels."""

    def __init__(self) -> None:
        super().__init__()

        def stage(inputs: int, repeats: int) -> list[nn.Module]:
            blocks = [ResLayer(2 * inputs) for _ in range(repeats)]
            return [BaseConv(inputs, 2 * inputs, 3, 2, act="lrelu"), *blocks]

        self.stem = nn.Sequential(BaseConv(3, 32, 3, act="lrelu"), *stage(32, 1))
        self.dark2 = nn.Sequential(*stage(64, 2))
        self.dark3 = nn.Sequential(*stage(128, 8))
        self.dark4 = nn.Sequential(*stage(256, 8))
        self.dark5 = nn.Sequential(
            *stage(512, 4),
            BaseConv(1024, 512, 1, act="lrelu"),
            BaseConv(512, 1024, 3, act="lrelu"),
            SPPBottleneck(1024, 512, act="lrelu"),
            BaseConv(512, 1024, 3, act="lrelu"),
            BaseConv(1024, 512, 1, act="lrelu"),
        )


class YOLOFPN(nn.Module):
    """Darknet-53, then a pyramid from coarse to fine: maps of 128, 256 and 512 channels."""

    channels = (128, 256, 512)

    def __init__(self) -> None:
        super().__init__()

        def chain(inputs: int, narrow: int) -> nn.Sequential:
            return nn.Sequential(
                BaseConv(inputs, narrow, 1, act="lrelu"),
                BaseConv(narrow, 2 * narrow, 3, act="lrelu"),
                BaseConv(2 * narrow, narrow, 1, act="lrelu"),
                BaseConv(narrow, 2 * narrow, 3, act="lrelu"),
                BaseConv(2 * narrow, narrow, 1, act="lrelu"),
            )

        self.backbone = Darknet53()
        self.out1_cbl = BaseConv(512, 256, 1, act="lrelu")
        self.out1 = chain(256 + 512, 256)
        self.out2_cbl = BaseConv(256, 128, 1, act="lrelu")
        self.out2 = chain(128 + 256, 128)

    def forward(self, images: Tensor) -> Maps:
        c3, c4, p5 = self.backbone(images)
        p4 = self.out1(join_upsampled(self.out1_cbl(p5), c4))
        p3 = self.out2(join_upsampled(self.out2_cbl(p4), c3))
        return p3, p4, p5
