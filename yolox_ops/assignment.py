"""What an assigner returns."""

from typing import NamedTuple

from torch import Tensor

from yolox_ops._transforms import as_pytree


@as_pytree
class Assignment(NamedTuple):
    """Which ground truth each anchor learns, image by image.

    Attributes:
        matched_gt: [B, N] int64, the row of gt_boxes that the anchor is matched to, -1 for background.
        matched_iou: [B, N] float32, IoU of the anchor's prediction with that ground truth, 0 for background.
        num_fg: [B] int64, anchors that are not background.
    """

    matched_gt: Tensor
    matched_iou: Tensor
    num_fg: Tensor

    @property
    def fg_mask(self) -> Tensor:
        """[B, N] bool, true where an anchor is matched."""
        return self.matched_gt >= 0
