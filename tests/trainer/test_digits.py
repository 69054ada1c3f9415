"""The embedded data set: the same image for the same index, and boxes where the ink is."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from yolox_ops.trainer.data.digits import Digits, scans
from yolox_ops.trainer.data.open import open_dataset


def test_the_same_index_is_the_same_image_in_any_order():
    forwards, backwards = Digits("train", images=8), Digits("train", images=8)
    first = [forwards[i] for i in range(8)]
    second = [backwards[i] for i in reversed(range(8))][::-1]
    for one, two in zip(first, second, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert len({one.image.tobytes() for one in first}) == 8
    for other in (Digits("train", images=8, seed=1), Digits("val", images=8)):
        assert not np.array_equal(other[3].image, first[3].image)


def test_validation_scans_are_held_out():
    train, val = scans("train"), scans("val")
    assert len(val[0]) == 360 and len(train[0]) + len(val[0]) == len(load_digits().target)
    assert not {s.tobytes() for s in train[0]} & {s.tobytes() for s in val[0]}
    assert np.bincount(val[1]).min() > 25  # every digit is among them


@pytest.mark.parametrize(("height", "width"), [(160, 160), (64, 224)])
def test_boxes_are_tight_around_ink(height, width):
    """Ink is far from its paper; around a box that no other comes near, a ring of two pixels is not."""
    data = Digits("train", images=40, height=height, width=width)
    alone = 0
    for i in range(len(data)):
        image, boxes, labels = data[i]
        assert image.shape == (height, width, 3) and image.dtype == np.uint8
        assert boxes.shape == (len(labels), 4) and boxes.dtype == np.float32 and labels.dtype == np.int64
        assert (
            (boxes[:, :2] >= 0).all()
            and (boxes[:, 2:] <= [width, height]).all()
            and (boxes[:, 2:] > boxes[:, :2]).all()
        )
        grey = image.mean(-1)
        for g, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
            others = np.delete(boxes, g, 0)
            if (np.maximum(others[:, :2], [x1, y1]) - np.minimum(others[:, 2:], [x2, y2]) < 4).all(1).any():
                continue
            far = np.abs(grey - np.median(np.concatenate([grey[:2].ravel(), grey[-2:].ravel()]))) > 90
            inside = far[y1:y2, x1:x2]
            if not inside.any():
                continue
            alone += 1
            around = far[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2]
            assert around.sum() == inside.sum()
            rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            assert max(rows[0], columns[0], y2 - y1 - 1 - rows[-1], x2 - x1 - 1 - columns[-1]) <= 0.2 * (y2 - y1) + 2
    assert alone > 40


def test_sizes_counts_and_empty_images():
    data = Digits("train", images=200)
    samples = [data[i] for i in range(200)]
    counts = np.array([len(s.labels) for s in samples])
    assert 2 < (counts == 0).sum() < 25 and counts.max() == 8
    sides = np.concatenate([s.boxes[:, 3] - s.boxes[:, 1] for s in samples])
    assert sides.min() < 20 and 70 < sides.max() <= 80
    assert set(np.concatenate([s.labels for s in samples])) == set(range(10))


def test_coco_annotations_are_those_of_the_samples():
    data = Digits("val", images=6)
    truth = data.coco()
    assert [one["id"] for one in truth["images"]] == list(data.image_ids)
    assert [one["name"] for one in truth["categories"]] == list("0123456789")
    for i in range(6):
        mine = [a for a in truth["annotations"] if a["image_id"] == data.image_ids[i]]
        boxes = np.array([a["bbox"] for a in mine], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        assert np.array_equal(boxes, data[i].boxes)
        assert [a["category_id"] for a in mine] == data[i].labels.tolist()
    assert len({a["id"] for a in truth["annotations"]}) == len(truth["annotations"])


def test_open_dataset():
    data = open_dataset("digits", split="val", height=64, width=96, count=5)
    assert len(data) == 5 and data[0].image.shape == (64, 96, 3)
    assert str(data.report) == "digits, val: 5 images of 64 x 96, 360 scans"


@pytest.mark.parametrize(
    ("split", "options", "words"),
    [
        ("test", {}, "split must be one of 'train', 'val', got 'test'"),
        ("train", {"images": 0}, "images must be at least 1, got 0"),
        ("train", {"width": 32}, "width must be at least 64, got 32"),
    ],
)
def test_errors(split, options, words):
    with pytest.raises(ValueError, match=words):
        Digits(split, **options)
