"""A data set that needs no download: real handwriting, from scikit-learn's scans, on textured canvases."""

from functools import cache
from typing import Any

import cv2
import numpy as np
from sklearn.datasets import load_digits

from yolox_ops._arguments import check_choice, check_count
from yolox_ops.trainer.data.sample import Sample

SPLITS = ("train", "val")
HELD_OUT = 5  # every fifth scan is seen in validation only
SMALLEST = 18  # pixels; a scan has 8 x 8


@cache
def scans(split: str) -> tuple[np.ndarray, np.ndarray]:
    """[S, 8, 8] float32, 1 is full ink, and the digits [S] int64: of 1797 scans (UCI, Alpaydin and Kaynak 1998) a
    fifth is held out for "val"."""
    digits = load_digits()
    held_out = np.arange(len(digits.target)) % HELD_OUT == 0
    chosen = held_out if split == "val" else ~held_out
    return (digits.images[chosen] / 16).astype(np.float32), digits.target[chosen].astype(np.int64)


class Digits:
    """Images of up to eight digits from `SMALLEST` pixels to half the canvas, drawn anew from the index at each call.

    A digit is stretched at random, inked darker or lighter than its paper, touches others at most lightly and hangs
    over the border at times. Its box is tight around the ink that can be seen. One image in twenty is empty.

    Args:
        split: "train" or "val", which share no scan.
        images: how many there are.
        height, width: of each image in pixels, at least 64.
        seed: another seed, other images.

    Raises:
        ValueError: a value does not fit.
    """

    class_names = tuple("0123456789")
    category_ids = tuple(range(10))

    def __init__(self, split: str, *, images: int = 2000, height: int = 160, width: int = 160, seed: int = 0) -> None:
        check_choice("split", split, SPLITS)
        check_count("images", images, 1)
        check_count("height", height, 64)
        check_count("width", width, 64)
        check_count("seed", seed, 0)
        self.split, self.height, self.width, self.seed = split, height, width, seed
        self.image_ids = range(images)
        self.report = f"digits, {split}: {images} images of {height} x {width}, {len(scans(split)[1])} scans"

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self.seed, SPLITS.index(self.split), self.image_ids[index]))
        ink, digits = scans(self.split)
        canvas = paper(self.height, self.width, rng)
        count = 0 if rng.random() < 0.05 else int(rng.integers(1, 9))
        largest = min(self.height, self.width) / 2
        # From large to small, so that no digit vanishes under a later one.
        sides = np.sort(SMALLEST * (largest / SMALLEST) ** rng.random(count))[::-1]
        boxes, labels = np.zeros((0, 4), np.float32), []
        for side in sides:
            chosen = rng.integers(len(ink))
            size = np.array([side * rng.uniform(0.7, 1.1), side]).round().astype(int)  # width, height
            corner = free_corner(boxes, size, np.array([self.width, self.height]), rng)
            if corner is not None:
                boxes = np.vstack([boxes, write(canvas, ink[chosen], corner, size)])
                labels.append(digits[chosen])
        return Sample((canvas * 255).round().astype(np.uint8), boxes, np.array(labels, np.int64))

    def coco(self) -> dict[str, Any]:
        """The ground truth in COCO's format. It draws every image once."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i in self.image_ids:
            images.append({"id": i, "width": self.width, "height": self.height, "file_name": f"{i}.png"})
            _, boxes, labels = self[i]
            for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist(), strict=True):
                box = [x1, y1, x2 - x1, y2 - y1]
                shape = {"bbox": box, "area": box[2] * box[3], "iscrowd": 0}
                annotations.append({"id": len(annotations) + 1, "image_id": i, "category_id": label, **shape})
        categories = [{"id": i, "name": name} for i, name in zip(self.category_ids, self.class_names, strict=True)]
        return {"images": images, "annotations": annotations, "categories": categories}


def paper(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """[H, W, 3] float32 in 0..1: light or dark, with a slope of brightness, grained and slightly tinted."""
    slope_y, slope_x = 0.1 * rng.standard_normal(2, np.float32)
    grey = np.linspace(-slope_y, slope_y, height, dtype=np.float32)[:, None]
    grey = grey + np.linspace(-slope_x, slope_x, width, dtype=np.float32) + (0.72 if rng.random() < 0.5 else 0.28)
    for cell, strength in ((32, 0.05), (16, 0.03), (2, 0.02)):  # a grain every so many pixels
        grain = strength * rng.standard_normal((height // cell + 1, width // cell + 1), np.float32)
        grey += cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
    tint = 1 + 0.06 * rng.standard_normal(3, np.float32)
    return (grey[..., None] * tint).clip(0, 1)


def free_corner(
    boxes: np.ndarray, size: np.ndarray, canvas: np.ndarray, rng: np.random.Generator, tries: int = 20
) -> np.ndarray | None:
    """Left and top of a place of `size` that covers at most a tenth of an earlier box [G, 4], and none of it more than
    a tenth of the place; up to a fifth of the place lies beyond the border. None if `tries` do not find one."""
    for _ in range(tries):
        corner = (rng.uniform(-0.2, 0.2, 2) * size + rng.random(2) * (canvas - size)).round().astype(int)
        overlap = np.minimum(boxes[:, 2:], corner + size) - np.maximum(boxes[:, :2], corner)
        shared = overlap.clip(0).prod(1)
        smaller = np.minimum((boxes[:, 2:] - boxes[:, :2]).prod(1), size.prod())
        if (shared <= 0.1 * smaller).all():
            return corner
    return None


def write(canvas: np.ndarray, scan: np.ndarray, corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Inks a scan [8, 8] into canvas [H, W, 3], in place; returns the box [4] of the ink on it, xyxy float32."""
    smooth = cv2.resize(scan, size.tolist(), interpolation=cv2.INTER_CUBIC)
    (x, y), (height, width, _) = corner.clip(0), canvas.shape
    left, top = corner
    alpha = ((smooth - 0.35) * 4).clip(0, 1)[y - top : height - top, x - left : width - left]
    spot = canvas[y : y + alpha.shape[0], x : x + alpha.shape[1]]  # a view
    ink = 0.08 if (spot * alpha[..., None]).sum() > 1.5 * alpha.sum() else 0.95
    spot += alpha[..., None] * (ink - spot)
    rows, columns = (np.flatnonzero((alpha > 0.1).any(axis)) for axis in (1, 0))
    box = [x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1]
    return np.array(box, np.float32)
