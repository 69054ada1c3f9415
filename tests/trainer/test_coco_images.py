"""CocoDataset on image files: cut off, turned, of another size, of every kind of pixel."""

import os
import re

import cv2
import numpy as np
import pytest
from coco_files import HEIGHT, PIXELS, WIDTH, image, same, thing, write_coco
from PIL import Image

from yolox_ops.trainer.data import CocoDataset


def grey(width, height):
    return np.full((height, width, 3), 114, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)


def encoded(extension, *options):
    return cv2.imencode(extension, cv2.GaussianBlur(PIXELS, (9, 9), 3), options)[1].tobytes()


PROGRESSIVE = encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def with_thumbnail(data):
    """A JPEG whose header holds a whole JPEG."""
    thumbnail = b"Exif\0\0" + encoded(".jpg", cv2.IMWRITE_JPEG_QUALITY, 10)
    return data[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + data[2:]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, r"\[Errno 2\] No such file or directory: '.*/1\.png'"),
        (b"", r"the file must be an image, got .*empty"),
        (b"no image", r"the file must be a whole image that OpenCV reads, got none"),
        (encoded(".png")[:-500], r"the file must be a whole image that OpenCV reads, got none"),
        (encoded(".jpg")[:-1], r"the JPEG must have an end, got a file that was cut off"),
        (encoded(".jpg")[:-500], r"the JPEG must have an end"),
        (PROGRESSIVE[: len(PROGRESSIVE) // 2], r"the JPEG must have an end"),
        (with_thumbnail(encoded(".jpg"))[:-500], r"the JPEG must have an end"),
    ],
)
def test_an_image_that_cannot_be_read(tmp_path, data, words):
    path = write_coco(tmp_path, [thing(1), thing(2, iscrowd=1)], [image(2), image(1, width=60, height=50)])
    skipping, refusing = CocoDataset(path), CocoDataset(path, on_bad="refuse")
    if data is None:
        os.remove(tmp_path / "1.png")
    else:
        (tmp_path / "1.png").write_bytes(data)
    place = r"images\[1\] \(id 1, '1\.png'\): "
    for _ in range(2):
        with pytest.warns(UserWarning, match=rf"^\S*/train\.json: {place}{words}.*; it is grey now, without its 1 obj"):
            assert same(skipping[1], grey(60, 50))
    assert skipping.report.counts["unreadable"] == 1
    assert re.match(place + words, skipping.report.examples["unreadable"][0])
    assert "; met 1 bad image on reading: 1 replaced by grey without objects, such as images[1]" in str(skipping.report)
    assert len(skipping.coco()["annotations"]) == 2
    with pytest.raises(ValueError, match=rf"/train\.json: {place}{words}"):
        refusing[1]
    assert same(skipping[0], (PIXELS, *grey(1, 1)[1:]))


def test_whole_jpegs_pass(tmp_path):
    path = write_coco(tmp_path, [], [image(1, file_name="1.jpg")])
    plain = encoded(".jpg")
    padded = plain[:2] + b"\xff\xff" + plain[2:]
    for data in (plain, PROGRESSIVE, with_thumbnail(plain), plain + b"a film \xff\xda", padded, plain + plain):
        (tmp_path / "1.jpg").write_bytes(data)
        assert np.array_equal(CocoDataset(path, on_bad="refuse")[0].image, cv2.imdecode(np.frombuffer(data, "u1"), 1))


def test_an_image_of_another_size(tmp_path):
    things = [thing(1), thing(2, bbox=[90, 10, 30, 20], category_id=7), thing(3, bbox=[110, 10, 10, 10])]
    path = write_coco(tmp_path, things, [image(1, width=120, height=50)])
    data = CocoDataset(path)
    words = r"images\[0\] \(id 1, '1\.png'\): must be of 120 x 50 pixels, got 100 x 80"
    with pytest.warns(UserWarning, match=rf"train\.json: {words}; boxes are clipped to that, and 1 lie outside"):
        sample = data[0]
    boxes = np.array([[10, 20, 40, 60], [90, 10, 100, 30]], np.float32)
    assert same(sample, (PIXELS, boxes, np.array([0, 1])))
    assert data.report.counts["other_size"] == 1
    with pytest.raises(ValueError, match=rf"train\.json: {words}$"):
        CocoDataset(path, on_bad="refuse")[0]


def test_boxes_refer_to_the_stored_pixels(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by 90 degrees
    Image.fromarray(PIXELS).save(tmp_path / "turned.png", exif=turned)
    assert cv2.imread(str(tmp_path / "turned.png")).shape == (WIDTH, HEIGHT, 3)
    data = CocoDataset(write_coco(tmp_path, [], [image(1, file_name="turned.png")]), on_bad="refuse")
    assert np.array_equal(data[0].image, PIXELS[..., ::-1])


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_pixel_becomes_bgr(tmp_path, mode):
    name = "1.jpg" if mode == "CMYK" else "1.png"
    path = write_coco(tmp_path, [], [image(1, file_name=name)])
    colour = (204, 102, 51) if mode in ("RGBA", "CMYK", "P") else (120, 120, 120)
    picture = Image.new("RGB", (WIDTH, HEIGHT), colour)
    if mode == "I;16":
        picture = Image.fromarray(np.full((HEIGHT, WIDTH), 120 * 257, np.uint16))
    elif mode == "1":
        picture, colour = Image.new("1", (WIDTH, HEIGHT), 1), (255, 255, 255)
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / name)
    sample = CocoDataset(path, on_bad="refuse")[0]
    assert sample.image.shape == (HEIGHT, WIDTH, 3) and sample.image.dtype == np.uint8
    assert np.abs(sample.image.astype(int) - colour[::-1]).max() < 5
