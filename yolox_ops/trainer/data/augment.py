"""YOLOX's training augmentations (Ge et al. 2021, arXiv 2107.08430, section 2.1), by the rules of Megvii's code.

No function changes the samples it is given, and all that is random comes from the generator it is given.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from yolox_ops._arguments import check_at_least, check_between, check_choice, check_positive
from yolox_ops.trainer.data.letterbox import FILL, blank, letterbox_sample, on_canvas, paste, scaled, visible
from yolox_ops.trainer.data.sample import Dataset, Sample
from yolox_ops.yolox.model import MODELS

HSV_GAINS = (5, 30, 30)  # of OpenCV's 180 hues, 255 saturations and 255 values
MIXUP_DRAWS = 10


@dataclass(frozen=True)
class Augmentation:
    """How strongly images are augmented; the defaults are Megvii's for YOLOX-s and larger.

    Attributes:
        mosaic_prob: of four images in one, with a random affine map; without it an image is only scaled to fit.
        mixup_prob: of a blend with another image, given a mosaic.
        degrees, shear: the affine map turns and shears by up to this angle either way.
        translate: it moves by up to this part of the image's size either way.
        mosaic_scale: (low, high) of its scale; below 0.5 the canvas of the mosaic does not fill the image.
        mixup_scale: (low, high) of the other image's size in a blend, of the image's.
        hsv_prob, flip_prob: of a shift in hue, saturation and value, and of a horizontal flip, also of a blend's other.

    Raises:
        ValueError: a probability is outside [0, 1], an angle or translate is negative, or a scale is not positive and
            ascending.
    """

    mosaic_prob: float = 1.0
    mixup_prob: float = 1.0
    degrees: float = 10.0
    translate: float = 0.1
    mosaic_scale: tuple[float, float] = (0.1, 2.0)
    mixup_scale: tuple[float, float] = (0.5, 1.5)
    shear: float = 2.0
    flip_prob: float = 0.5
    hsv_prob: float = 1.0

    def __post_init__(self) -> None:
        for name in ("mosaic_prob", "mixup_prob", "flip_prob", "hsv_prob"):
            check_between(name, getattr(self, name), 0, 1)
        for name in ("degrees", "translate", "shear"):
            check_at_least(name, getattr(self, name), 0)
        for name in ("mosaic_scale", "mixup_scale"):
            low, high = getattr(self, name)
            check_positive(name, low)
            check_between(name, high, low, math.inf)


NONE = Augmentation(mosaic_prob=0, mixup_prob=0, flip_prob=0, hsv_prob=0)


def augmentation_of(model_name: str) -> Augmentation:
    """Megvii's settings for a model of yolox_ops.yolox.MODELS. Raises ValueError for any other name."""
    check_choice("model_name", model_name, tuple(MODELS))
    if model_name == "yolox_nano":
        return Augmentation(mosaic_prob=0.5, mixup_prob=0, mosaic_scale=(0.5, 1.5))
    if model_name == "yolox_tiny":
        return Augmentation(mixup_prob=0, mosaic_scale=(0.5, 1.5))
    return Augmentation()


def augment(
    dataset: Dataset, index: int, height: int, width: int, settings: Augmentation, rng: np.random.Generator
) -> Sample:
    """One image to train on, made from dataset[index] and, with a mosaic or a blend, from others drawn at random.

    Megvii's pipeline, but for this:
    - A blend takes an image with objects, as Megvii's; after MIXUP_DRAWS empty ones there is no blend, where
      Megvii draws on without end. A mosaic without objects is blended as well.
    - Where no box is left, the sample has no objects. Megvii then goes back to the boxes it has dropped, among them
      those of size 0, which an assigner can only get wrong, and skips hsv and flip for images without objects.
    - All boxes are kept; Megvii leaves out those past the 50th, or the 120th in a mosaic.
    - An image without mosaic is scaled before hsv and flip, which then have fewer pixels to do.

    Returns:
        Sample: image [height, width, 3]; boxes with both sides above 1 px, Megvii's rule. It depends on the arguments
        and the state of rng only.
    """
    if rng.random() < settings.mosaic_prob:
        others = rng.integers(len(dataset), size=3).tolist()
        sample = mosaic([dataset[i] for i in (index, *others)], height, width, rng)
        sample = affine(
            sample, height, width, rng, settings.degrees, settings.translate, settings.mosaic_scale, settings.shear
        )
        if rng.random() < settings.mixup_prob:
            other = _draw_with_objects(dataset, rng)
            sample = mixup(sample, other, rng, settings.mixup_scale, settings.flip_prob) if other else sample
    else:
        sample = scaled(dataset[index], height, width)
    if rng.random() < settings.hsv_prob:
        sample = sample._replace(image=hsv(sample.image, rng))
    if rng.random() < settings.flip_prob:
        sample = flip(sample)
    image, boxes, labels = on_canvas(sample, height, width)
    kept = (boxes[:, 2:] - boxes[:, :2] > 1).all(1)
    return Sample(image, boxes[kept], labels[kept])


def _draw_with_objects(dataset: Dataset, rng: np.random.Generator) -> Sample | None:
    for _ in range(MIXUP_DRAWS):
        sample = dataset[int(rng.integers(len(dataset)))]
        if len(sample.boxes):
            return sample
    return None


def hsv(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each of hue, saturation and value is, at even odds, left or shifted by a whole number drawn up to its gain either
    way; hue wraps, the others saturate. Megvii's `augment_hsv` to the last bit for the same draws."""
    shifts = (rng.uniform(-1, 1, 3) * HSV_GAINS * rng.integers(0, 2, 3)).astype(np.int16)
    table = np.arange(256)[:, None] + shifts
    table[:, 0] %= 180
    table = table.clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), table[None]), cv2.COLOR_HSV2BGR)


def flip(sample: Sample) -> Sample:
    """Left to right."""
    x1, y1, x2, y2 = sample.boxes.T
    width = np.float32(sample.image.shape[1])
    return sample._replace(image=cv2.flip(sample.image, 1), boxes=np.stack([width - x2, y1, width - x1, y2], 1))


def mosaic(samples: Sequence[Sample], height: int, width: int, rng: np.random.Generator) -> Sample:
    """Four samples on a canvas of [2 * height, 2 * width]: each is scaled to fit height x width and touches the centre
    with one corner; the centre is drawn from the middle half of the canvas, per axis. Megvii's MosaicDetection.

    Raises:
        ValueError: there are not four samples.
    """
    if len(samples) != 4:
        raise ValueError(f"a mosaic must have 4 samples, got {len(samples)}")
    y, x = int(rng.uniform(0.5 * height, 1.5 * height)), int(rng.uniform(0.5 * width, 1.5 * width))
    canvas = blank(2 * height, 2 * width)
    boxes = []
    for quadrant, sample in enumerate(samples):
        tile = scaled(sample, height, width)
        h, w = tile.image.shape[:2]
        top, left = y - h * (quadrant < 2), x - w * (quadrant % 2 == 0)
        paste(canvas, tile.image, top, left)
        boxes.append(_moved(tile.boxes, top, left))
    return visible(Sample(canvas, np.concatenate(boxes), np.concatenate([s.labels for s in samples])))


def affine(
    sample: Sample,
    height: int,
    width: int,
    rng: np.random.Generator,
    degrees: float,
    translate: float,
    scale: tuple[float, float],
    shear: float,
) -> Sample:
    """The sample turned, scaled and sheared about its top left corner, moved, and cut to height x width.

    Boxes are the hulls of their corners, clipped, as Megvii's `random_affine` has them. The image is up to half a pixel
    off Megvii's: coordinates are those of edges here, with pixel centres at .5, for boxes and pixels alike.

    Args:
        degrees, translate, scale, shear: as in Augmentation.
    """
    high = np.array([degrees, scale[1], shear, shear, translate * width, translate * height])
    low = -high
    low[1] = scale[0]
    angle, size, shear_x, shear_y, dx, dy = rng.uniform(low, high)
    turn = cv2.getRotationMatrix2D((0, 0), angle, size)[:, :2]
    linear = np.array([[1, math.tan(math.radians(shear_y))], [math.tan(math.radians(shear_x)), 1]]) @ turn
    offset = np.array([dx, dy])

    corners = sample.boxes[:, [0, 1, 2, 3, 0, 3, 2, 1]].reshape(-1, 4, 2) @ linear.T + offset
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)
    centre = np.array([0.5, 0.5])
    matrix = np.column_stack([linear, linear @ centre + offset - centre])  # warpAffine has pixel centres at integers
    image = cv2.warpAffine(sample.image, matrix, (width, height), borderValue=(FILL,) * 3)
    return visible(sample._replace(image=image, boxes=boxes))


def mixup(
    sample: Sample, other: Sample, rng: np.random.Generator, scale: tuple[float, float], flip_prob: float = 0.5
) -> Sample:
    """The mean of the sample and another, of which all boxes are kept. Megvii's `mixup`, with one scaling for its two.

    The other is letterboxed to the sample's size times a draw from `scale`, flipped with `flip_prob`, and cut to the
    sample's size at random; where it is smaller it lies at the top left and is black beyond.
    """
    height, width = sample.image.shape[:2]
    factor = rng.uniform(*scale)
    other = letterbox_sample(other, max(int(height * factor), 1), max(int(width * factor), 1))
    if rng.random() < flip_prob:
        other = flip(other)
    h, w = other.image.shape[:2]
    top, left = -int(rng.integers(max(h - height, 0) + 1)), -int(rng.integers(max(w - width, 0) + 1))
    canvas = np.zeros_like(sample.image)
    paste(canvas, other.image, top, left)
    image = cv2.addWeighted(sample.image, 0.5, canvas, 0.5, 0)
    boxes = np.concatenate([sample.boxes, _moved(other.boxes, top, left)])
    return visible(Sample(image, boxes, np.concatenate([sample.labels, other.labels])))


def _moved(boxes: np.ndarray, top: int, left: int) -> np.ndarray:
    return boxes + np.array([left, top, left, top], np.float32)
