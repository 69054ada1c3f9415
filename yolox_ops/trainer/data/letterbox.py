"""An image on a canvas of another size, its aspect ratio kept, as YOLOX trains and evaluates."""

import cv2
import numpy as np

from yolox_ops._arguments import check_count
from yolox_ops.trainer.data.sample import Sample

FILL = 114  # the grey that Megvii's models know as "no image"


def letterbox(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, float]:
    """The image as large as the canvas holds, at its top left; the rest is FILL. Megvii's `preproc`, not transposed.

    Args:
        image: [h, w, 3] uint8; it is not changed.
        height, width: pixels of the canvas.

    Returns:
        canvas [height, width, 3] uint8, and the ratio by which coordinates in the image become those in the canvas.

    Raises:
        ValueError: image is not [h, w, 3] with h and w of at least 1, or height or width is below 1.
        TypeError: image is not uint8, or height or width no integer.
    """
    small, ratio = fit(image, height, width)
    canvas = blank(height, width)
    paste(canvas, small, 0, 0)
    return canvas, ratio


def letterbox_sample(sample: Sample, height: int, width: int) -> Sample:
    """`letterbox` of a sample's image and boxes."""
    return on_canvas(scaled(sample, height, width), height, width)


def fit(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, float]:
    """A copy scaled by min(height / h, width / w), and that ratio; raises what `letterbox` raises.

    Sides are rounded down as Megvii's are, but to no less than 1 px, so that an image of any shape has a place.
    """
    check_count("height", height, 1)
    check_count("width", width, 1)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"image must be [H, W, 3] with H and W at least 1, got {list(image.shape)}")
    if image.dtype != np.uint8:
        raise TypeError(f"image must be uint8, got {image.dtype}")
    h, w = image.shape[:2]
    ratio = min(height / h, width / w)
    size = max(int(w * ratio), 1), max(int(h * ratio), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), ratio


def scaled(sample: Sample, height: int, width: int) -> Sample:
    """`fit` of a sample's image and boxes."""
    image, ratio = fit(sample.image, height, width)
    return sample._replace(image=image, boxes=sample.boxes * np.float32(ratio))


def on_canvas(sample: Sample, height: int, width: int) -> Sample:
    """The sample at the top left of a new canvas."""
    canvas = blank(height, width)
    paste(canvas, sample.image, 0, 0)
    return visible(sample._replace(image=canvas))


def blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), FILL, np.uint8)


def paste(canvas: np.ndarray, image: np.ndarray, top: int, left: int) -> None:
    """Writes the part of the image that falls on the canvas when its corner lies at (left, top)."""
    part, place = image[max(-top, 0) :, max(-left, 0) :], canvas[max(top, 0) :, max(left, 0) :]
    h, w = np.minimum(part.shape, place.shape)[:2]
    place[:h, :w] = part[:h, :w]


def visible(sample: Sample) -> Sample:
    """Boxes clipped to the image; those of which nothing is left are dropped."""
    h, w = sample.image.shape[:2]
    boxes = np.clip(sample.boxes, 0, np.array([w, h, w, h], np.float32))
    kept = (boxes[:, :2] < boxes[:, 2:]).all(1)
    return Sample(sample.image, boxes[kept], sample.labels[kept])
