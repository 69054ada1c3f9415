"""From a model's raw predictions to detections, for a whole batch at once."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from yolox_ops._arguments import check_flag
from yolox_ops._transforms import as_pytree
from yolox_ops.ops.soft_nms import batched_soft_nms
from yolox_ops.yolox.head import Predictions


@as_pytree
class Detections(NamedTuple):
    """What was found in each image, best first.

    Attributes:
        boxes: [B, K, 4], xyxy in pixels of the images.
        scores: [B, K], objectness times class probability, as soft-NMS left it.
        labels: [B, K] int64.
        counts: [B] int64; rows at or past it are 0.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    counts: Tensor

    def unpadded(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Boxes [k, 4], scores [k] and labels [k] of each image. On a GPU the host waits for the counts."""
        return [
            (boxes[:k], scores[:k], labels[:k])
            for boxes, scores, labels, k in zip(*self[:3], self.counts.tolist(), strict=True)
        ]


def detect(
    predictions: Predictions,
    *,
    method: str = "hard",
    score_threshold: float | None = 0.01,
    iou_threshold: float = 0.65,
    sigma: float = 0.5,
    max_detections: int | None = 100,
    class_agnostic: bool = False,
) -> Detections:
    """One detection an anchor, of its best class, thinned by soft-NMS among those of a class.

    Args:
        predictions: of model.raw.
        method, score_threshold, iou_threshold, sigma: as in soft_nms; the defaults are those of YOLOX's evaluation.
        max_detections: at most this many an image; None: as many as there are anchors.
        class_agnostic: detections of all classes thin each other.

    Returns:
        Detections, without gradients; none of a model without classes.

    Raises:
        what batched_soft_nms raises for its options.
    """
    check_flag("class_agnostic", class_agnostic)
    with torch.no_grad():
        logits = predictions.cls_logits.float()
        if logits.shape[-1] == 0:  # there is no class to be of, and a NaN score is never selected
            logits = F.pad(logits, (0, 1), value=torch.nan)
        probability, labels = logits.sigmoid().max(-1)
        scores = probability * predictions.obj_logits.float().sigmoid()
        boxes = predictions.pred_boxes
        indices, scores, counts = batched_soft_nms(
            boxes,
            scores,
            None if class_agnostic else labels,
            method=method,
            sigma=sigma,
            iou_threshold=iou_threshold,
            score_threshold=score_threshold,
            max_detections=max_detections,
            fmt="cxcywh",
        )
        kept = indices >= 0
        rows = indices.clamp(min=0)
        centre, size = boxes.gather(1, rows[..., None].expand(-1, -1, 4)).split(2, -1)
        corners = torch.cat([centre - size / 2, centre + size / 2], -1)
        return Detections(
            torch.where(kept[..., None], corners, 0), scores, torch.where(kept, labels.gather(1, rows), 0), counts
        )
