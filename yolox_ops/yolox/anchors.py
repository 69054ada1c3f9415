"""The cells of a YOLOX head in pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from yolox_ops._arguments import as_number, check_count

STRIDES = (8, 16, 32)


def anchor_grid(
    height: int,
    width: int,
    strides: Sequence[int] = STRIDES,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Anchor points of an image and their strides, level after level, row after row, as Megvii YOLOX orders them.

    Args:
        height, width: pixels, multiples of every stride.
        strides: pixels from one cell to the next, one number for each level.
        device, dtype: of both results.

    Returns:
        anchor_points [N, 2]: centres of the cells, (x, y) in pixels, (index + 0.5) * stride. strides [N], in pixels.
        N is the sum of (height / stride) * (width / stride) over the levels.

    Raises:
        ValueError: height or width is no positive multiple of a stride, or strides is empty.
    """
    if len(strides) == 0:
        raise ValueError(f"strides must name at least one level, got {strides!r}")
    height, width = as_number(height), as_number(width)
    points, steps = [], []
    for number in strides:
        stride = check_count("stride", number, 1)
        if height < 1 or width < 1 or height % stride or width % stride:
            raise ValueError(f"height and width must be positive multiples of {stride}, got {height} x {width}")
        y, x = ((torch.arange(size // stride, device=device, dtype=dtype) + 0.5) * stride for size in (height, width))
        points.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2))
        steps.append(torch.full((len(points[-1]),), float(stride), device=device, dtype=dtype))
    return torch.cat(points), torch.cat(steps)
