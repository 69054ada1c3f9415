"""Pictures on which an object's pixels can be told from all others: rectangles of pure blue, green or red (labels 0, 1
and 2) on grey ground."""

import itertools

import numpy as np

from yolox_ops.trainer.data.sample import Sample

SIZES = [(160, 160), (96, 160)]


def drawn(boxes, labels, height, width, seed=0):
    """A read-only sample with rectangles at integer xyxy boxes."""
    ground = np.random.default_rng(seed).integers(0, 60, (height, width, 1), dtype=np.uint8)
    image = np.repeat(ground, 3, 2)
    for (x1, y1, x2, y2), label in zip(boxes, labels, strict=True):
        image[y1:y2, x1:x2] = 255 * np.eye(3, dtype=np.uint8)[label]
    sample = Sample(image, np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64))
    for array in sample:
        array.flags.writeable = False
    return sample


def random_sample(rng, labels):
    """Objects of these labels that do not touch, side by side."""
    height, width = (int(n) for n in rng.integers(90, 300, 2))
    boxes = []
    columns = np.linspace(0, width, len(labels) + 1).astype(int)
    for left, right in itertools.pairwise(columns):
        gap = 4 * (len(labels) > 1)
        x1 = rng.integers(left, (left + right) // 2 - 4)
        y1 = rng.integers(height // 2 - 4)
        x2 = rng.integers((left + right) // 2 + 4, right - gap + 1)
        y2 = rng.integers(height // 2 + 4, height + 1)
        boxes.append([int(n) for n in (x1, y1, x2, y2)])
    return drawn(boxes, labels, height, width, seed=int(rng.integers(1000)))


def seen(image, label):
    """The hull, xyxy, of the pixels that have the label's colour, or None."""
    colour = image[..., label].astype(int) - image.min(2)
    if colour.max() < 60:  # beside grey, and what a shift in hue or saturation makes of other colours
        return None
    y, x = np.nonzero(colour > colour.max() / 2)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


def check(sample, height, width):
    """What every sample must be."""
    image, boxes, labels = sample
    assert image.shape == (height, width, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert boxes.shape == (len(labels), 4) and boxes.dtype == np.float32 and labels.dtype == np.int64
    assert (boxes >= 0).all() and (boxes[:, 2:] <= [width, height]).all() and (boxes[:, :2] < boxes[:, 2:]).all()


def check_boxes(sample, labels, tolerance):
    """Each label of `labels` is on one object at most, and its box is where its pixels are; how many were compared."""
    compared = 0
    for label in labels:
        boxes = sample.boxes[sample.labels == label]
        hull = seen(sample.image, label)
        assert len(boxes) <= 1
        if hull is None:
            assert not len(boxes) or (boxes[0, 2:] - boxes[0, :2]).min() < 3
        elif len(boxes):
            assert np.abs(hull - boxes[0]).max() <= tolerance, (hull, boxes[0])
            compared += 1
        else:
            assert (hull[2:] - hull[:2]).min() <= 2
    return compared
