"""The objects of a batch in the form that simota and yolox_loss take."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from yolox_ops._tracing import as_pytree


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
        """From the boxes [G, 4] (xyxy in pixels) and labels [G] of each image; an image may have none.

        Raises:
            ValueError: there is no image, or an image has not as many labels as boxes.
        """
        if not boxes or [len(b) for b in boxes] != [len(x) for x in labels]:
            counts = [len(b) for b in boxes], [len(x) for x in labels]
            raise ValueError(f"each of one or more images must have a label a box, got {counts[0]} and {counts[1]}")
        corners = pad_sequence(list(boxes), batch_first=True)
        low, high = corners.split(2, -1)
        num_gts = torch.tensor([len(b) for b in boxes], device=corners.device)
        return cls(torch.cat([(low + high) / 2, high - low], -1), pad_sequence(list(labels), batch_first=True), num_gts)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Targets":
        return Targets(*(t.to(device, non_blocking=non_blocking) for t in self))
