"""IoU of all pairs, and CIoU of boxes in pairs, by other people's packages. Each entry takes corner boxes once, as
tensors [N, 4] and [M, 4], and gives what to time; that gives an array or tensor [N, M], or [N]. It imports its package,
so that the others run where that is not installed."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from benchmarks.peers.torchvision_ops import import_torchvision

Run = Callable[[], Tensor | np.ndarray]


def torchvision_iou(
    one: Tensor,  # [N, 4]
    other: Tensor,  # [M, 4]
) -> Run:
    ops = import_torchvision().ops
    return lambda: ops.box_iou(one, other)


def torchvision_giou(
    one: Tensor,  # [N, 4]
    other: Tensor,  # [M, 4]
) -> Run:
    ops = import_torchvision().ops
    return lambda: ops.generalized_box_iou(one, other)


def torchvision_ciou(
    one: Tensor,  # [N, 4]
    other: Tensor,  # [M, 4]
) -> Run:
    ops = import_torchvision().ops
    return lambda: ops.complete_box_iou(one, other)


def torchvision_aligned_ciou(
    one: Tensor,  # [N, 4]
    other: Tensor,  # [N, 4]
) -> Run:
    """1 - CIoU of the pairs [N], in torchvision's words complete_box_iou_loss."""
    ops = import_torchvision().ops
    return lambda: ops.complete_box_iou_loss(one, other)


def mmdet_iou(
    one: Tensor,  # [N, 4]
    other: Tensor,  # [M, 4]
) -> Run:
    from benchmarks.peers.mmdet import old_spellings  # which imports mmdet

    with old_spellings():
        from mmdet.structures.bbox import bbox_overlaps
    return lambda: bbox_overlaps(one, other)


def powerboxes_iou(
    one: Tensor,  # [N, 4]
    other: Tensor,  # [M, 4]
) -> Run:
    """1 - IoU, float64, on all cores."""
    import powerboxes

    arrays = one.numpy(), other.numpy()
    return lambda: powerboxes.parallel_iou_distance(*arrays)


def pycocotools_iou(
    one: Tensor,  # [N, 4]
    other: Tensor,  # [M, 4]
) -> Run:
    """float64, of boxes as corner and size."""
    import pycocotools.mask

    first, second = (np.concatenate([x[:, :2], x[:, 2:] - x[:, :2]], 1) for x in (one.double(), other.double()))
    crowd = np.zeros(len(second), dtype=np.uint8)
    return lambda: pycocotools.mask.iou(first, second, crowd)


PAIRWISE = {
    "torchvision": torchvision_iou,
    "mmdet": mmdet_iou,
    "powerboxes, parallel": powerboxes_iou,
    "pycocotools": pycocotools_iou,
}
IS_DISTANCE = {"powerboxes, parallel"}  # these give 1 - IoU
