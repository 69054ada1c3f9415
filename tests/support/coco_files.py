"""Small data sets in COCO's format, as files."""

import json

import cv2
import numpy as np

WIDTH, HEIGHT = 100, 80
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
# What JSON can hold beside what COCO means.
NAN, INF, HUGE, HALF = float("nan"), float("inf"), 10**4000, "\ud800"
DEEP = json.loads("[" * 500 + "]" * 500)
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def image(number, **fields):
    return {"id": number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT, **fields}


def thing(number, **fields):
    return {"id": number, "image_id": 1, "category_id": 3, "bbox": [10, 20, 30, 40], "area": 50, "iscrowd": 0, **fields}


def write_coco(folder, annotations=(), images=None, categories=CATEGORIES):
    """Writes the files of images 1 and 2, both of PIXELS, and a JSON, of which it returns the path."""
    for number in (1, 2):
        cv2.imwrite(str(folder / f"{number}.png"), PIXELS)
    images = [image(1), image(2)] if images is None else images
    content = {"images": images, "annotations": list(annotations), "categories": categories}
    (folder / "train.json").write_text(json.dumps(content))
    return folder / "train.json"


def same(sample, other):
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(sample, other, strict=True))
