"""The way of an image into the model, and of its detections back to it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from yolox_ops.trainer.data.letterbox import letterbox
from yolox_ops.yolox.detections import Detections

Record = dict[str, Any]  # a COCO result: image_id, category_id, bbox [x, y, width, height] in pixels, score


class Frame(NamedTuple):
    """An image on its canvas, and what leads back from there.

    Attributes:
        canvas: [H, W, 3] uint8, BGR.
        ratio: pixels of the canvas by pixels of the image.
        height, width: pixels of the image.
        image_id: that of its records.
    """

    canvas: np.ndarray
    ratio: float
    height: int
    width: int
    image_id: int

    @classmethod
    def of(cls, image: np.ndarray, height: int, width: int, image_id: int) -> "Frame":
        """`image` [h, w, 3] uint8 letterboxed to height x width."""
        canvas, ratio = letterbox(image, height, width)
        return cls(canvas, ratio, image.shape[0], image.shape[1], image_id)


def as_input(frames: Sequence[Frame], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Canvases of one size as [B, 3, H, W], BGR in 0..255."""
    images = torch.from_numpy(np.stack([frame.canvas for frame in frames])).to(device)
    return images.permute(0, 3, 1, 2).to(dtype, memory_format=torch.contiguous_format)


def to_records(detections: Detections, frames: Sequence[Frame], category_ids: Sequence[int]) -> list[Record]:
    """COCO results in pixels of the images and clipped to them; a box in a canvas's margin is of no image and left out.

    Args:
        detections: of the frames' canvases.
        category_ids: that of each class.
    """
    records = []
    found = Detections(*(t.cpu() for t in detections)).unpadded()
    for (boxes, scores, labels), frame in zip(found, frames, strict=True):
        corners = np.clip(boxes.double().numpy() / frame.ratio, 0, [frame.width, frame.height] * 2)
        for (x1, y1, x2, y2), score, label in zip(corners.tolist(), scores.tolist(), labels.tolist(), strict=True):
            if x1 < x2 and y1 < y2:  # false of a NaN too
                bbox = [x1, y1, x2 - x1, y2 - y1]
                record = {"image_id": frame.image_id, "category_id": category_ids[label], "bbox": bbox, "score": score}
                records.append(record)
    return records
