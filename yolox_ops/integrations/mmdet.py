"""The assigner of mmdetection's YOLOX by yolox_ops.simota. docs/mmdet.md shows the two lines of a config."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from yolox_ops._arguments import check_shape
from yolox_ops._check import check_float, check_tensor
from yolox_ops.ops.simota import simota
from yolox_ops.presets import PRESETS
from yolox_ops.scene import Scene
from yolox_ops.yolox.targets import pad_boxes, pad_labels

try:
    from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner, BboxOverlaps2D
    from mmdet.registry import TASK_UTILS
    from mmdet.structures.bbox import BaseBoxes
except ImportError as error:
    raise ImportError(f"yolox_ops.integrations.mmdet needs the package mmdet, version 3: {error}") from error

BACKGROUND_OVERLAP = -1e5  # -INF of mmdet


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _centred(corners: Tensor) -> Tensor:
    """[..., 4], x1, y1, x2, y2 as centre x, centre y, width, height, the centre rounded as mmdet rounds it. Of the two
    halves that the centre cuts a side into the shorter counts: with the longer an edge that runs through an anchor
    could round to beyond it, and the anchor would be in the box."""
    low, high = corners[..., :2], corners[..., 2:]
    centre = (low + high) / 2
    return torch.cat([centre, 2 * torch.minimum(centre - low, high - centre)], -1)


def _gts(image: int, gt_instances: Any) -> tuple[Tensor, Tensor]:
    """bboxes [g, 4] and labels [g] int64. Of an image without objects mmdet asks nothing but that."""
    bboxes, labels = gt_instances.bboxes, gt_instances.labels
    if isinstance(bboxes, BaseBoxes):
        bboxes = bboxes.convert_to("hbox").tensor
    check_tensor(f"gt_instances.bboxes of image {image}", bboxes)
    check_tensor(f"gt_instances.labels of image {image}", labels)
    check_shape(f"gt_instances.labels of image {image}", labels, "[g]", bboxes.shape[:1])
    return (bboxes, labels.long()) if len(labels) else (bboxes.new_zeros(0), labels.new_zeros(0))


def _shortest(number: Tensor) -> str:
    """As few digits, six or more, as tell it from its neighbours of its dtype."""
    value = number.item()
    texts = (f"{value:.{digits}g}" for digits in range(6, 17))
    return next((text for text in texts if number.new_tensor(float(text)).item() == value), repr(value))


def _check_values(scores: Tensor, priors: Tensor) -> None:
    """What only the CPU is asked, as a GPU would make the host wait for the answer."""
    if scores.device.type != "cpu" or scores.numel() == 0:
        return
    low, high = scores.aminmax()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"scores must be in [0, 1], got values from {_shortest(low)} to {_shortest(high)}")
    if not torch.equal(priors[:, 2], priors[:, 3]):
        row = int((priors[:, 2] != priors[:, 3]).nonzero()[0])
        raise ValueError(f"priors must have one stride for x and y, got {priors[row, 2:].tolist()} in row {row}")


@TASK_UTILS.register_module()
class YOLOXOpsSimOTAAssigner(BaseAssigner):
    """mmdet's SimOTAAssigner, of the same config keys and results, with yolox_ops.simota inside.

    The rule is PRESETS["mmdet"]: a prior is a candidate in a box or in its centre region, and free of a penalty of
    1e5 in both; IoU counts as log(IoU + 1e-7). What differs, all of it rounding: mmdet adds the penalty in float32,
    which rounds penalised costs to 1/128, rounds the class cost to float16 where scores are float16, leaves equal costs
    in no order, and takes the union of two boxes as at least 1e-6 square pixels.

    Args:
        center_radius: in strides.
        candidate_topk: largest IoUs that the number of priors of a ground truth is estimated from.
        iou_weight, cls_weight: what the two costs are multiplied by.
        iou_calculator: BboxOverlaps2D without its float16 option, the one that the kernel computes.

    Raises:
        ValueError: iou_calculator is another.
    """

    def __init__(
        self,
        center_radius: float = 2.5,
        candidate_topk: int = 10,
        iou_weight: float = 3.0,
        cls_weight: float = 1.0,
        iou_calculator: Any = None,
    ) -> None:
        self.center_radius = center_radius
        self.candidate_topk = candidate_topk
        self.iou_weight = iou_weight
        self.cls_weight = cls_weight
        self.iou_calculator = TASK_UTILS.build(iou_calculator or {"type": "BboxOverlaps2D"})
        if type(self.iou_calculator) is not BboxOverlaps2D or self.iou_calculator.dtype is not None:
            raise ValueError(f"iou_calculator must be dict(type='BboxOverlaps2D'), got {iou_calculator!r}")

    def assign(
        self, pred_instances: Any, gt_instances: Any, gt_instances_ignore: Any = None, **kwargs: Any
    ) -> AssignResult:
        """One image, by mmdet's own signature.

        Args:
            pred_instances: InstanceData of bboxes, scores and priors, as for assign_batch without the B.
            gt_instances: InstanceData of bboxes [g, 4], x1, y1, x2, y2 in pixels, a tensor or mmdet's boxes, and labels
                [g] in [0, C). Either may be of floats or integers of any width. Of an image without objects bboxes may
                have any shape [0, ...], as torch.tensor([]) has.
            gt_instances_ignore, kwargs: not looked at, as in mmdet.

        Returns: the AssignResult of assign_batch. Raises: as assign_batch.
        """
        bboxes, scores = pred_instances.bboxes[None], pred_instances.scores[None]
        return self.assign_batch(bboxes, scores, pred_instances.priors, [gt_instances])[0]

    def assign_batch(
        self, bboxes: Tensor, scores: Tensor, priors: Tensor, batch_gt_instances: Sequence[Any]
    ) -> list[AssignResult]:
        """All images in one call of yolox_ops.simota; on a GPU nothing makes the host wait.

        Args:
            bboxes: [B, n, 4], decoded boxes, x1, y1, x2, y2 in pixels. float32, float64, float16 or bfloat16, as all
                float tensors, each its own.
            scores: [B, n, C] in [0, 1]: sqrt(sigmoid(cls) sigmoid(obj)) for YOLOX.
            priors: [n, 4], centre x, centre y, stride, stride, the same for all images. YOLOXHead adds half a stride to
                its priors before it assigns.
            batch_gt_instances: B of what assign takes as gt_instances.

        Returns:
            One AssignResult an image: num_gts; gt_inds [n] int64, 1-based, 0 for background; labels [n] int64, -1 for
            background; max_overlaps [n] float32, IoU with that ground truth, -100000 for background, but 0 everywhere
            in an image that has no ground truth (then in the dtype of bboxes, as in mmdet) or no candidate.

        Raises:
            ValueError, TypeError: as simota; on the CPU also ValueError for a score outside [0, 1] and for a prior
            whose two strides differ. On a GPU the worst cost and the first of the two count.
        """
        check_float("bboxes", bboxes)
        check_shape("bboxes", bboxes, "[B, n, 4]", (None, None, 4))
        check_float("scores", scores)
        check_shape("scores", scores, "[B, n, C]", (*bboxes.shape[:2], None))
        check_float("priors", priors)
        check_shape("priors", priors, "[n, 4]", (bboxes.shape[1], 4))
        if len(batch_gt_instances) != len(bboxes):
            raise ValueError(
                f"batch_gt_instances must be one for each of {len(bboxes)} images, got {len(batch_gt_instances)}"
            )
        if not batch_gt_instances:
            return []
        _check_values(scores, priors)
        gts = [_gts(b, instances) for b, instances in enumerate(batch_gt_instances)]
        gt_bboxes = pad_boxes("gt_instances.bboxes", [boxes for boxes, _ in gts], bboxes.device)
        gt_labels = pad_labels("gt_instances.labels", [labels for _, labels in gts], bboxes.device)
        counts = [len(labels) for _, labels in gts]
        scene = Scene(
            pred_boxes=_centred(_wide(bboxes)),
            cls_logits=torch.logit(_wide(scores)),
            obj_logits=None,
            anchor_points=priors[:, :2],
            strides=priors[:, 2],
            gt_boxes=_centred(gt_bboxes),
            gt_labels=gt_labels,
            num_gts=torch.tensor(counts, device="cpu").to(bboxes.device, non_blocking=True),
        )
        found = simota(
            *scene,
            **{**PRESETS["mmdet"], "center_radius": self.center_radius},
            cls_weight=self.cls_weight,
            iou_weight=self.iou_weight,
            topk=self.candidate_topk,
        )
        gt_inds = found.matched_gt + 1
        labels = pad(gt_labels, (1, 0), value=-1).gather(1, gt_inds)
        # Who has a candidate has a match.
        background = torch.where((found.num_fg > 0)[:, None], BACKGROUND_OVERLAP, torch.zeros_like(found.matched_iou))
        overlaps = torch.where(found.fg_mask, found.matched_iou, background)
        return [
            AssignResult(
                count,
                gt_inds[b],
                overlaps[b] if count and priors.shape[0] else overlaps[b].to(bboxes.dtype),
                labels=labels[b],
            )
            for b, count in enumerate(counts)
        ]
