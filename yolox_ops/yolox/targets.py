"""The objects of a batch in the form that simota and yolox_loss take."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from yolox_ops._arguments import check_shape
from yolox_ops._check import check_tensor, wide_dtype
from yolox_ops._transforms import as_pytree

NONE = (0,)  # the shape of torch.tensor([]), whose dtype and device nobody chose


@as_pytree
class Targets(NamedTuple):
    """The objects of a batch, padded to those of the fullest image.

    Attributes:
        gt_boxes: [B, G, 4] float, cxcywh in pixels.
        gt_labels: [B, G] int64.
        num_gts: [B] int64; rows at or past it are padding.
    """

    gt_boxes: Tensor
    gt_labels: Tensor
    num_gts: Tensor

    @classmethod
    def pad(cls, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> "Targets":
        """From the boxes and labels of each image; an image may have none.

        Args:
            boxes: [G, 4] each, xyxy in pixels, floats or integers of any width. Of an image without objects [0, 4], or
                [0] as torch.tensor([]) is.
            labels: [G] each, integers of any width; [0] may be of any dtype.

        Returns:
            Targets, of which gt_boxes are float64 if the boxes of any image are, else float32, which centre and size
            are computed in; gt_labels are int64.

        Raises:
            ValueError: there is no image, an image has not as many labels as boxes, or a shape or a device does not
            fit. TypeError: the boxes of an image are no numbers, or its labels no integers.
        """
        counts = []
        for name, images in (("boxes", boxes), ("labels", labels)):
            for b, rows in enumerate(images):
                check_tensor(f"{name} of image {b}", rows)
            counts.append([rows.shape[0] if rows.ndim else 0 for rows in images])
        if not counts[0] or counts[0] != counts[1]:
            raise ValueError(f"each of one or more images must have a label a box, got {counts[0]} and {counts[1]}")
        corners, gt_labels = pad_boxes("boxes", boxes), pad_labels("labels", labels)
        low, high = corners.split(2, -1)
        num_gts = torch.tensor(counts[0], device=corners.device)
        return cls(torch.cat([(low + high) / 2, high - low], -1), gt_labels, num_gts)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Targets":
        return Targets(*(t.to(device, non_blocking=non_blocking) for t in self))


def pad_boxes(name: str, images: Sequence[Tensor], device: torch.device | None = None) -> Tensor:
    """[B, G, 4] of [G, 4] each, or [0]: float64 if one of them is, else float32. `device` is for a batch without
    objects."""
    said = [boxes for boxes in images if boxes.shape != NONE]
    for b, boxes in enumerate(images):
        if boxes.shape != NONE:
            check_shape(f"{name} of image {b}", boxes, "[G, 4]", (None, 4))
            if boxes.is_complex() or boxes.dtype == torch.bool:
                raise TypeError(f"{name} of image {b} must be floats or integers, got {boxes.dtype}")
    return _pad(name, [boxes.reshape(-1, 4) for boxes in images], wide_dtype(*said), device)


def pad_labels(name: str, images: Sequence[Tensor], device: torch.device | None = None) -> Tensor:
    """[B, G] int64 of [G] each; `device` likewise."""
    for b, labels in enumerate(images):
        check_shape(f"{name} of image {b}", labels, "[G]", (None,))
        if len(labels) and (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool):
            raise TypeError(f"{name} of image {b} must be integers, got {labels.dtype}")
    return _pad(name, images, torch.int64, device)


def _pad(name: str, images: Sequence[Tensor], dtype: torch.dtype, device: torch.device | None) -> Tensor:
    """One tensor, of that dtype and on the device of the images that have objects."""
    full = [b for b, rows in enumerate(images) if len(rows)]
    device = images[full[0]].device if full else device or images[0].device
    for b in full:
        if images[b].device != device:
            rule = f"must be on the device of those of image {full[0]}"
            raise ValueError(f"{name} of image {b} {rule}, got {images[b].device} and {device}")
    return pad_sequence([rows.to(device, dtype) for rows in images], batch_first=True)
