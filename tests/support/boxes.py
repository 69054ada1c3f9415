"""Boxes for tests. Coordinates lie on a lattice of 1/8 pixel, where float32 adds and subtracts them exactly."""

import torch


def random_boxes(*shape: int, fmt: str = "xyxy", extent: float = 64.0, seed: int = 0) -> torch.Tensor:
    """[*shape, 4] float32; sizes from 1/8 pixel to half the extent."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(*shape, 2, generator=generator) * extent
    size = torch.rand(*shape, 2, generator=generator) * extent / 2
    corner, size = (corner * 8).round() / 8, (size * 4).ceil() / 4
    if fmt == "xyxy":
        return torch.cat([corner, corner + size], -1)
    return torch.cat([corner if fmt == "xywh" else corner + size / 2, size], -1)


# Pairs whose answer is in question in most libraries: touching, equal, empty, negative, inside, infinite.
ODD_BOXES = torch.tensor(
    [
        [0.0, 0.0, 10.0, 10.0],
        [10.0, 0.0, 20.0, 10.0],
        [0.0, 0.0, 10.0, 10.0],
        [5.0, 5.0, 5.0, 5.0],
        [5.0, 5.0, 5.0, 9.0],
        [9.0, 9.0, 2.0, 2.0],
        [9.0, 2.0, 2.0, 9.0],
        [2.0, 2.0, 3.0, 3.0],
        [-1000.0, -1000.0, 1000.0, 1000.0],
    ]
)
