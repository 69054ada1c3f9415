"""The training augmentations one by one: boxes stay on their objects."""

import numpy as np
import pytest
from rectangles import SIZES, check, check_boxes, drawn, random_sample, seen

from yolox_ops.trainer.data.augment import affine, flip, mixup, mosaic
from yolox_ops.trainer.data.letterbox import letterbox, letterbox_sample


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_letterbox_flip_and_mixup_keep_boxes_on_objects(height, width):
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(40):
        fitted = letterbox_sample(random_sample(rng, [0, 1]), height, width)
        flipped = flip(fitted)
        mixed = mixup(flipped, random_sample(rng, [2]), rng, (0.5, 1.5))
        for sample in fitted, flipped, mixed:
            check(sample, height, width)
            compared += check_boxes(sample, range(3), 1.5)
        assert np.array_equal(flip(flipped).image, fitted.image)
        assert mixed.labels[:2].tolist() == [0, 1] and np.array_equal(mixed.boxes[:2], flipped.boxes)
    assert compared >= 40 * 6


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_mosaic_keeps_boxes_on_objects(height, width):
    rng = np.random.default_rng(1)
    compared = 0
    for turn in range(40):
        samples = [random_sample(rng, [label]) for label in range(3)]
        samples.insert(turn % 4, random_sample(rng, []))
        sample = mosaic(samples, height, width, rng)
        check(sample, 2 * height, 2 * width)
        compared += check_boxes(sample, range(3), 1.5)
    assert compared > 110


@pytest.mark.parametrize(("degrees", "shear", "tolerance"), [(0, 0, 1), (10, 2, 2)])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_affine_keeps_boxes_on_objects(height, width, degrees, shear, tolerance):
    """A turned box that the border cuts is the clipped hull of the whole object; what is left may not fill it."""
    rng = np.random.default_rng(2)
    compared = 0
    for _ in range(60):
        sample = affine(random_sample(rng, [0, 1]), height, width, rng, degrees, 0.1, (0.4, 1.2), shear)
        check(sample, height, width)
        cut = (sample.boxes[:, :2] == 0).any(1) | (sample.boxes[:, 2:] == [width, height]).any(1)
        compared += check_boxes(sample, sample.labels[~cut] if degrees else [0, 1], tolerance)
        for label, box in zip(sample.labels, sample.boxes, strict=True):
            hull = seen(sample.image, label)
            if hull is not None:
                assert (hull[:2] >= box[:2] - tolerance).all() and (hull[2:] <= box[2:] + tolerance).all()
    assert compared > (30 if degrees else 100)


@pytest.mark.parametrize("scale", [0.25, 2.0])
def test_affine_moves_pixels_and_boxes_alike(scale):
    """The centre of an object's pixels is that of its box, but for what sampling does, which averages out."""
    sample = drawn([(40, 24, 72, 56)], [0], 80, 80)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :200] + 0.5
    off = []
    for _ in range(60):
        image, boxes, _ = affine(sample, 200, 200, rng, 0, 0.02, (scale, scale), 0)
        colour = image[..., 0].astype(float) - image.min(2)
        centre = np.array([(x * colour).sum(), (y * colour).sum()]) / colour.sum()
        off.append(centre - (boxes[0, :2] + boxes[0, 2:]) / 2)
    assert np.abs(np.mean(off, 0)).max() < 0.1


def test_an_object_outside_the_mosaic_leaves_no_box():
    """Clipped, its box is a line on the border, which a rotation would make a box again."""
    far = drawn([(0, 0, 8, 159)], [0], 160, 160)
    empty = drawn([], [], 160, 160)
    gone = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        sample = mosaic([far, empty, empty, empty], 160, 160, rng)
        gone += not len(sample.boxes)
        turned = affine(sample, 160, 160, rng, 10, 0, (0.5, 0.5), 2)
        assert len(turned.boxes) <= len(sample.boxes)
    assert 10 < gone < 30


@pytest.mark.parametrize(
    ("image", "size", "error", "words"),
    [
        (np.zeros((4, 5), np.uint8), (32, 32), ValueError, r"image must be \[H, W, 3\] with .*, got \[4, 5\]"),
        (np.zeros((4, 5, 4), np.uint8), (32, 32), ValueError, r"got \[4, 5, 4\]"),
        (np.zeros((0, 5, 3), np.uint8), (32, 32), ValueError, r"got \[0, 5, 3\]"),
        (np.zeros((4, 5, 3), np.float32), (32, 32), TypeError, "image must be uint8, got float32"),
        (np.zeros((4, 5, 3), np.uint8), (0, 32), ValueError, "height must be at least 1, got 0"),
        (np.zeros((4, 5, 3), np.uint8), (32, 1.5), TypeError, "width must be an integer, got 1.5"),
    ],
)
def test_letterbox_errors(image, size, error, words):
    with pytest.raises(error, match=words):
        letterbox(image, *size)
