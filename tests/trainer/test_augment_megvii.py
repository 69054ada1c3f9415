"""The augmentations beside Megvii's own, as the package pixeltable-yolox carries them, on the same draws."""

import numpy as np
import pytest

from benchmarks.peers.megvii import megvii_config, megvii_data
from yolox_ops.trainer.data.augment import Augmentation, affine, augmentation_of, hsv, mixup, mosaic
from yolox_ops.trainer.data.letterbox import letterbox, letterbox_sample
from yolox_ops.trainer.data.sample import Sample
from yolox_ops.yolox import MODELS

MEGVII = megvii_data()
AUGMENT, MOSAIC = MEGVII.data_augment, MEGVII.datasets.mosaicdetection


def noise(rng, height, width):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_sample(rng):
    """A smooth image, which scaling twice leaves nearly as scaling once does, and six boxes."""
    height, width = rng.integers(60, 400, 2)
    image = letterbox(noise(rng, 5, 5), 400, 400)[0][:height, :width]
    corners = np.sort(rng.uniform(0, 1, (6, 2, 2)), 1).reshape(6, 4) * [width, height, width, height]
    return Sample(image, corners.astype(np.float32), rng.integers(0, 80, 6))


def with_labels(sample):
    return np.hstack([sample.boxes, sample.labels[:, None]]).astype(np.float64)


def compare_boxes(ours, theirs, atol):
    """Theirs holds those that clipping has left without size, too."""
    kept = (theirs[:, :2] < theirs[:, 2:4]).all(1)
    assert ours.labels.tolist() == theirs[kept, 4].tolist()
    assert np.allclose(ours.boxes, theirs[kept, :4], atol=atol)


class OneImage:
    """A data set in the form of Megvii's, for mixup."""

    def __init__(self, sample):
        self.sample = sample

    def __len__(self):
        return 1

    def load_anno(self, index):
        return with_labels(self.sample)

    def pull_item(self, index):
        return self.sample.image, with_labels(self.sample), None, None


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (160, 96)])
def test_letterbox(size):
    rng = np.random.default_rng(0)
    for shape in [size, (48, 48), (33, 47), (301, 40), (40, 301), (500, 375)]:
        image = noise(rng, *shape)
        canvas, ratio = letterbox(image, *size)
        theirs, their_ratio = AUGMENT.preproc(image, size)
        assert ratio == their_ratio
        assert np.array_equal(canvas.transpose(2, 0, 1), theirs)


def test_hsv(monkeypatch):
    image = noise(np.random.default_rng(0), 64, 64)
    for seed in range(30):
        ours = hsv(image, np.random.default_rng(seed))
        rng, theirs = np.random.default_rng(seed), image.copy()
        monkeypatch.setattr(np.random, "uniform", rng.uniform)
        monkeypatch.setattr(np.random, "randint", rng.integers)
        AUGMENT.augment_hsv(theirs)
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("size", [(160, 160), (96, 160)])
def test_affine(monkeypatch, size):
    height, width = size
    ranges = 10.0, 0.1, (0.1, 2.0), 2.0  # degrees, translate, scale, shear
    for seed in range(40):
        sample = random_sample(np.random.default_rng(100 + seed))
        ours = affine(sample, height, width, np.random.default_rng(seed), *ranges)
        monkeypatch.setattr(AUGMENT, "random", np.random.default_rng(seed))
        image, targets = AUGMENT.random_affine(sample.image, with_labels(sample), (width, height), *ranges)
        compare_boxes(ours, targets, 1e-3)
        assert np.abs(ours.image.astype(int) - image).mean() < 2  # the half pixel, on smooth images


@pytest.mark.parametrize("size", [(160, 160), (96, 160)])
def test_mosaic(size):
    height, width = size
    for seed in range(30):
        samples = [random_sample(np.random.default_rng([seed, i])) for i in range(4)]
        ours = mosaic(samples, height, width, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        y, x = int(rng.uniform(0.5 * height, 1.5 * height)), int(rng.uniform(0.5 * width, 1.5 * width))
        canvas = np.full((2 * height, 2 * width, 3), 114)
        targets = []
        for i, sample in enumerate(samples):
            padded, ratio = letterbox(sample.image, height, width)
            h, w = (int(n * ratio) for n in sample.image.shape[:2])
            (x1, y1, x2, y2), (u1, v1, u2, v2) = MOSAIC.get_mosaic_coordinate(None, i, x, y, w, h, height, width)
            canvas[y1:y2, x1:x2] = padded[v1:v2, u1:u2]
            rows = with_labels(sample)
            rows[:, :4] = rows[:, :4] * ratio + [x1 - u1, y1 - v1, x1 - u1, y1 - v1]
            targets.append(rows)
        targets = np.concatenate(targets)
        targets[:, :4] = targets[:, :4].clip(0, [2 * width, 2 * height] * 2)
        assert np.array_equal(ours.image, canvas)
        compare_boxes(ours, targets, 1e-3)


class MixupDraws:
    """What Megvii's mixup takes from the module `random`, drawn as ours draws it; the other image is the only one."""

    def __init__(self, seed, factors):
        self.rng, self.factors, self.chosen = np.random.default_rng(seed), factors, False

    def uniform(self, low, high):
        return self.rng.uniform(low, high) if (low, high) == self.factors else 1 - self.rng.random()

    def randint(self, low, high):
        if self.chosen:
            return int(self.rng.integers(high + 2))  # Megvii never cuts at the far end
        self.chosen = True
        return 0


@pytest.mark.parametrize("size", [(160, 160), (96, 160)])
def test_mixup(monkeypatch, size):
    factors = (0.5, 1.5)
    for seed in range(40):
        make = np.random.default_rng(100 + seed)
        sample, other = letterbox_sample(random_sample(make), *size), random_sample(make)
        ours = mixup(sample, other, np.random.default_rng(seed), factors)
        monkeypatch.setattr(MOSAIC, "random", MixupDraws(seed, factors))
        owner = MOSAIC.MosaicDetection(OneImage(other), size, mixup_scale=factors)
        image, targets = owner.mixup(sample.image, with_labels(sample), size)
        compare_boxes(ours, targets, 1.5)
        assert np.abs(ours.image.astype(int) - image).mean() < 2


@pytest.mark.parametrize("name", MODELS)
def test_settings(name):
    theirs = megvii_config(name)
    ours = augmentation_of(name)
    assert ours.mixup_prob == theirs.mixup_prob * theirs.enable_mixup
    for field in set(Augmentation.__dataclass_fields__) - {"mixup_prob"}:
        assert getattr(ours, field) == getattr(theirs, field)
