"""The training augmentations together: what a seed gives, what a data set is asked for, and which objects are left."""

import random

import numpy as np
import pytest
from rectangles import SIZES, check, check_boxes, drawn, random_sample, seen

from yolox_ops.trainer.data.augment import (
    MIXUP_DRAWS,
    NONE,
    Augmentation,
    affine,
    augment,
    augmentation_of,
    flip,
    hsv,
    mixup,
    mosaic,
)
from yolox_ops.trainer.data.letterbox import letterbox, letterbox_sample
from yolox_ops.trainer.data.sample import Sample


class Listed:
    """A data set of samples; remembers what was asked for."""

    def __init__(self, samples):
        self.samples, self.asked = samples, []

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.samples[index]


def run(samples, settings=None, seed=0, index=0, height=96, width=160):
    settings = Augmentation() if settings is None else settings
    sample = augment(Listed(samples), index, height, width, settings, np.random.default_rng(seed))
    check(sample, height, width)
    return sample


@pytest.mark.parametrize("mosaic_prob", [0, 1])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_pipeline_keeps_boxes_on_objects(height, width, mosaic_prob):
    settings = Augmentation(mosaic_prob=mosaic_prob, degrees=0, shear=0, mosaic_scale=(0.5, 1.5))
    rng = np.random.default_rng(3)
    compared = 0
    for seed in range(40):
        samples = [random_sample(rng, [0]), random_sample(rng, [])]
        sample = run(samples, settings, seed, 0, height, width)
        if len(sample.labels) == 1:
            compared += check_boxes(sample, [0], 2)
        assert (sample.boxes[:, 2:] - sample.boxes[:, :2]).min(initial=2) > 1
    assert compared > (5 if mosaic_prob else 35)


@pytest.mark.parametrize(("flip_prob", "mirrored"), [(0.0, False), (1.0, True)])
def test_the_flip_probability_holds_for_mixup_too(monkeypatch, flip_prob, mirrored):
    calls = []

    def watched(sample):
        calls.append(sample)
        return flip(sample)

    monkeypatch.setattr("yolox_ops.trainer.data.augment.flip", watched)
    rng = np.random.default_rng(3)
    for seed in range(10):
        run([random_sample(rng, [0, 1])], Augmentation(flip_prob=flip_prob), seed)
    assert len(calls) == 20 * mirrored  # the other of the blend, then the whole


def test_a_seed_gives_one_sample_whatever_else_is_random():
    rng = np.random.default_rng(4)
    samples = [random_sample(rng, [0, 1, 2]) for _ in range(6)]
    copies = [Sample(*(array.copy() for array in sample)) for sample in samples]
    images = set()
    for seed in range(20):
        np.random.seed(seed)
        random.seed(seed)
        states = np.random.get_state()[1].tolist(), random.getstate()
        first = run(samples, seed=seed)
        assert states == (np.random.get_state()[1].tolist(), random.getstate())
        np.random.seed(99)
        random.seed(99)
        again = run(copies, seed=seed)
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        images.add(first.image.tobytes())
    assert len(images) == 20


def test_a_sample_of_the_data_set_is_never_changed_nor_given_away():
    """Read-only arrays would raise or warn, those of writable ones are compared."""
    rng = np.random.default_rng(5)
    samples = [Sample(*(a.copy() for a in random_sample(rng, [0, 1]))) for _ in range(3)]
    samples.append(letterbox_sample(samples[0], 96, 160))  # of the size asked for, so that nothing need be scaled
    before = [Sample(*(array.copy() for array in sample)) for sample in samples]
    for settings in (
        NONE,
        Augmentation(),
        Augmentation(mosaic_prob=0, flip_prob=1),
        Augmentation(mosaic_prob=0, hsv_prob=0),
    ):
        for seed in range(8):
            for array in run(samples, settings, seed, index=3):
                array[...] = 7
            assert all(
                np.array_equal(a, b) for s, t in zip(samples, before, strict=True) for a, b in zip(s, t, strict=True)
            )


def test_no_augmentation_is_letterbox_alone():
    sample = random_sample(np.random.default_rng(6), [0, 1, 2])
    ours = run([sample], NONE)
    assert all(np.array_equal(a, b) for a, b in zip(ours, letterbox_sample(sample, 96, 160), strict=True))
    assert np.array_equal(ours.image, letterbox(sample.image, 96, 160)[0])


def test_every_setting_reaches_its_function():
    """The pipeline with everything on, step by step."""
    samples = [random_sample(np.random.default_rng(10), [0, 1]), random_sample(np.random.default_rng(11), [2])]
    settings = Augmentation(1, 1, 20.0, 0.2, (0.3, 0.4), (0.6, 0.7), 3.0, flip_prob=1)
    rng = np.random.default_rng(0)
    rng.random()
    others = rng.integers(2, size=3)
    sample = mosaic([samples[i] for i in (0, *others)], 96, 160, rng)
    sample = affine(sample, 96, 160, rng, 20.0, 0.2, (0.3, 0.4), 3.0)
    rng.random()
    sample = mixup(sample, samples[rng.integers(2)], rng, (0.6, 0.7))
    rng.random()
    sample = sample._replace(image=hsv(sample.image, rng))
    ours = run(samples, settings, 0)
    assert np.array_equal(ours.image, flip(sample).image)
    assert np.array_equal(ours.boxes, flip(sample).boxes) and len(ours.boxes) > 4


def test_how_many_images_a_sample_is_made_of():
    rng = np.random.default_rng(7)
    data = Listed([random_sample(rng, [0]) for _ in range(9)])
    for settings, least, most in (
        (Augmentation(mosaic_prob=0), 1, 1),
        (Augmentation(mixup_prob=0), 4, 4),
        (Augmentation(), 5, 5),
        (Augmentation(mosaic_prob=0.5, mixup_prob=0.5), 1, 5),
    ):
        counts, indices = set(), set()
        for seed in range(60):
            data.asked.clear()
            augment(data, 4, 64, 64, settings, np.random.default_rng(seed))
            assert data.asked[0] == 4
            counts.add(len(data.asked))
            indices.update(data.asked[1:])
        assert (min(counts), max(counts)) == (least, most)
        assert indices == (set(range(9)) if most > 1 else set())


def test_a_data_set_without_objects():
    data = Listed([random_sample(np.random.default_rng(8), [])])
    sample = augment(data, 0, 96, 160, Augmentation(), np.random.default_rng(0))
    check(sample, 96, 160)
    assert not len(sample.boxes)
    assert len(data.asked) == 4 + MIXUP_DRAWS
    run(data.samples, NONE)


def test_mixup_looks_for_objects():
    """The one image of three that has an object is found nearly always, also where the mosaic has none."""
    rng = np.random.default_rng(9)
    data = Listed([random_sample(rng, [label] * (label == 2)) for label in range(3)])
    found = 0
    for seed in range(60):
        data.asked.clear()
        augment(data, 0, 96, 160, Augmentation(), np.random.default_rng(seed))
        found += data.asked[4:][-1] == 2 and 2 not in data.asked[4:-1]
    assert found >= 55


def test_objects_of_a_pixel_are_dropped_and_all_others_kept():
    thin = [(5, 5, 7, 30), (9, 5, 30, 7), (40, 5, 43, 30)]
    sample = drawn(thin, [0, 1, 2], 80, 80)
    assert run([sample], NONE, height=40, width=40).labels.tolist() == [2]  # 1.5 px is left; 1 px is not enough
    many = [(x, y, x + 4, y + 4) for x in range(0, 160, 8) for y in range(0, 96, 8)]
    assert len(run([drawn(many, [0] * len(many), 96, 160)], NONE).boxes) == len(many) == 240


@pytest.mark.parametrize("shape", [(1, 1), (2, 5000), (3000, 1)], ids=str)
def test_extreme_images(shape):
    height, width = shape
    sample = drawn([(0, 0, width, height)], [1], height, width)
    canvas, ratio = letterbox(sample.image, 96, 160)
    assert ratio == min(96 / height, 160 / width) and seen(canvas, 1)[:2].tolist() == [0, 0]
    for settings in NONE, Augmentation():
        for seed in range(10):
            run([sample, drawn([], [], 1, 1)], settings, seed)
    assert len(run([sample], NONE).boxes) == (shape == (1, 1))


def test_objects_at_the_border():
    """Boxes that fill the image, or touch a side, end on a side of its image on the canvas."""
    boxes = [(0, 0, 200, 90), (0, 40, 20, 60), (180, 40, 200, 60), (90, 0, 110, 10), (90, 80, 110, 90)]
    sample = run([drawn(boxes, [0] * 5, 90, 200)], NONE)
    assert np.allclose(sample.boxes, np.array(boxes) * 0.8)
    beyond = drawn([], [], 90, 200)._replace(boxes=np.float32([[-3, 5, 203, 95]]), labels=np.array([0]))
    assert np.allclose(run([beyond], NONE).boxes, [[0, 4, 160, 76]])
    flipped = run([drawn(boxes, [0] * 5, 90, 200)], Augmentation(mosaic_prob=0, flip_prob=1))
    assert np.allclose(flipped.boxes, np.array(boxes)[[0, 2, 1, 3, 4]] * 0.8, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Augmentation(mosaic_prob=1.5), r"mosaic_prob must be in \[0, 1\], got 1\.5"),
        (lambda: Augmentation(shear=-1), "shear must be at least 0, got -1"),
        (lambda: Augmentation(mixup_scale=(0, 1)), "mixup_scale must be positive and finite, got 0"),
        (lambda: Augmentation(mosaic_scale=(1.5, 0.5)), r"mosaic_scale must be in \[1\.5, inf\], got 0\.5"),
        (lambda: augmentation_of("yolox_xxl"), "model_name must be one of 'yolox_nano', .*, got 'yolox_xxl'"),
        (lambda: mosaic([], 32, 32, np.random.default_rng()), "a mosaic must have 4 samples, got 0"),
    ],
    ids=range(6),
)
def test_settings_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()
