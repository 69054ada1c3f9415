"""The blocks that YOLOX is made of. Attributes carry Megvii's names, so that its checkpoints load."""

import torch
from torch import Tensor, nn


def activation(name: str) -> nn.Module:
    """ "silu", or "lrelu" of slope 0.1; in place, for nothing else reads what a norm wrote."""
    return nn.SiLU(inplace=True) if name == "silu" else nn.LeakyReLU(0.1, inplace=True)


class BaseConv(nn.Module):
    """Convolution without bias, batch norm, activation; an odd kernel and stride 1 keep height and width."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, act: str = "silu"
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)  # not torch's 1e-5 and 0.1
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class DWConv(nn.Module):
    """A depthwise BaseConv, then a pointwise one."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = BaseConv(inputs, inputs, kernel, stride, groups=inputs)
        self.pconv = BaseConv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pconv(self.dconv(x))


def conv(inputs: int, outputs: int, stride: int = 1, *, depthwise: bool = False, act: str = "silu") -> nn.Module:
    """A 3 x 3 convolution: depthwise in YOLOX-Nano, dense elsewhere."""
    return DWConv(inputs, outputs, 3, stride) if depthwise else BaseConv(inputs, outputs, 3, stride, act=act)


class Bottleneck(nn.Module):
    """1 x 1, then 3 x 3, of one width; with `shortcut` the input is added."""

    def __init__(self, channels: int, *, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        self.conv1 = BaseConv(channels, channels, 1)
        self.conv2 = conv(channels, channels, depthwise=depthwise)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class CSPLayer(nn.Module):
    """Half of the channels pass `repeats` bottlenecks, half pass by; 1 x 1 convolutions split and join them."""

    def __init__(
        self, inputs: int, outputs: int, repeats: int, *, shortcut: bool = True, depthwise: bool = False
    ) -> None:
        super().__init__()
        hidden = outputs // 2
        self.conv1 = BaseConv(inputs, hidden, 1)
        self.conv2 = BaseConv(inputs, hidden, 1)
        self.conv3 = BaseConv(2 * hidden, outputs, 1)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut=shortcut, depthwise=depthwise) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(torch.cat([self.m(self.conv1(x)), self.conv2(x)], 1))


class SPPBottleneck(nn.Module):
    """Spatial pyramid pooling: the map beside its maxima over 5 x 5, 9 x 9 and 13 x 13 cells."""

    def __init__(self, inputs: int, outputs: int, *, act: str = "silu") -> None:
        super().__init__()
        hidden = inputs // 2
        self.conv1 = BaseConv(inputs, hidden, 1, act=act)
        self.m = nn.ModuleList(nn.MaxPool2d(size, stride=1, padding=size // 2) for size in (5, 9, 13))
        self.conv2 = BaseConv(4 * hidden, outputs, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))


class Focus(nn.Module):
    """Each 2 x 2 pixels become one cell of four times the channels, then a 3 x 3 BaseConv."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = BaseConv(4 * inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        # Column by column, unlike pixel_unshuffle: the order that the weights of checkpoints know.
        corners = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(corners, 1))


class ResLayer(nn.Module):
    """Darknet's residual block: 1 x 1 to half the channels, 3 x 3 back, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer1 = BaseConv(channels, channels // 2, 1, act="lrelu")
        self.layer2 = BaseConv(channels // 2, channels, 3, act="lrelu")

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer2(self.layer1(x))
