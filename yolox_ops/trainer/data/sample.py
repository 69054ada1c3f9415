"""What a data set gives, and what the trainer makes of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from yolox_ops.yolox.targets import Targets


class Sample(NamedTuple):
    """One image and its objects.

    Attributes:
        image: [H, W, 3] uint8, BGR.
        boxes: [G, 4] float32, xyxy in pixels of this image, of positive size; G may be 0.
        labels: [G] int64, in [0, C).
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


class Dataset(Protocol):
    """Samples by index, and what COCO's evaluation must know of them."""

    @property
    def class_names(self) -> Sequence[str]:
        """C names; a label is an index into them."""

    @property
    def image_ids(self) -> Sequence[int]:
        """The id in `coco()` of each sample."""

    @property
    def category_ids(self) -> Sequence[int]:
        """The id in `coco()` of each class."""

    @property
    def report(self) -> object:
        """What a person should know of the data; str() makes it words."""

    def __len__(self) -> int:
        """How many samples there are."""

    def __getitem__(self, index: int) -> Sample:
        """The same sample for the same index, in whatever process."""

    def coco(self) -> dict[str, Any]:
        """The ground truth in COCO's format: images, annotations, categories."""


class Batch(NamedTuple):
    """What the model trains on.

    Attributes:
        images: [B, 3, H, W] uint8, BGR.
        targets: their objects, padded.
    """

    images: Tensor
    targets: Targets


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples whose images have one size."""
    images = torch.stack([torch.from_numpy(s.image).permute(2, 0, 1) for s in samples])
    boxes = [torch.from_numpy(s.boxes) for s in samples]
    return Batch(images, Targets.pad(boxes, [torch.from_numpy(s.labels) for s in samples]))
