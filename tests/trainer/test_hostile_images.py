"""Image files of every kind, to train on and to predict: read as documented, or refused in words that name the file."""

import io
import json
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from coco_files import HEIGHT, WIDTH, image, write_coco
from painted_objects import CLASSES, SeesColours
from PIL import Image

from yolox_ops.trainer.data import CocoDataset
from yolox_ops.trainer.data.image import read_image
from yolox_ops.trainer.drawing import draw
from yolox_ops.trainer.predict import find_files, predict

RAMP = np.stack(np.broadcast_arrays(np.arange(0, 200, 2), np.arange(80)[:, None], 90), 2).astype(np.uint8)  # BGR
OPTIONS = {"class_names": CLASSES, "height": 64, "width": 64}


def encoded(kind, mode="RGB", frames=1, **options):
    """RAMP and, for more frames, its mirror image after it, as Pillow writes them."""
    pictures = [Image.fromarray(RAMP[..., ::-1]), *[Image.fromarray(RAMP[:, ::-1, ::-1])] * (frames - 1)]
    if frames > 1:
        options |= {"save_all": True, "append_images": pictures[1:]}
    file = io.BytesIO()
    pictures[0].convert(mode).save(file, kind, **options)
    return file.getvalue()


def png(width, height, pixels=b"", bits=8):
    """A PNG of colours that claims a size, whatever its pixels are."""
    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    body = (struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def with_size(data, offset, form, *size):
    return data[:offset] + struct.pack(form, *size) + data[offset + struct.calcsize(form) :]


JPEG = encoded("JPEG", quality=95)
REFUSED = {
    "empty": b"",
    "text": b"no image",
    "html": b"<!doctype html><html><body>404 Not Found</body></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
    "json": b'{"images": []}',
    "zip": b"PK\x03\x04" + bytes(99),
    "video": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(999),
    "magic-alone": b"\x89PNG\r\n\x1a\n",
    "bomb-of-60000x60000": png(60000, 60000, bytes(10**6)),
    "bomb-of-2^31": png(2**31 - 1, 2**31 - 1),
    "png-without-pixels": png(0, 5),
    "png-of-few-pixels": png(2000, 2000, bytes(99)),
    "png-of-1040000-columns": png(1_040_000, 1),
    "gif-bomb": b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0;",
    "bmp-bomb": with_size(encoded("BMP"), 18, "<ii", 30000, 30000),
    "bmp-of-negative-size": with_size(encoded("BMP"), 18, "<ii", -100, -(2**31)),
    "jpeg-bomb": with_size(JPEG, JPEG.index(b"\xff\xc0") + 5, ">HH", 65535, 65535),
    "jpeg-of-padding": b"\xff\xd8" + b"\xff" * 10**6,
    "jpeg-of-empty-headers": b"\xff\xd8" + b"\xff\xe0\0\0" * 10**4,
    "png-with-a-flipped-bit": with_size(encoded("PNG"), 100, "B", encoded("PNG")[100] ^ 1),
    **{
        f"{kind}-cut-by-{cut}": encoded(kind)[:-cut]
        for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
        for cut in (1, 100)
    },
    **{f"tiff-{kind}-cut": encoded("TIFF", compression=kind)[:-200] for kind in ("tiff_lzw", "tiff_deflate", "jpeg")},
    **{f"{kind}-cut-in-its-second-frame": encoded(kind, frames=2)[:-20] for kind in ("GIF", "WEBP")},
}
READ = {  # with the largest difference from RAMP
    "png": (encoded("PNG"), 0),
    "jpeg": (JPEG, 9),
    "jpeg-progressive": (encoded("JPEG", progressive=True, quality=95), 9),
    "jpeg-grey": (encoded("JPEG", "L", quality=95), None),
    "jpeg-cmyk": (encoded("JPEG", "CMYK", quality=95), 15),
    "png-grey": (encoded("PNG", "L"), None),
    "png-grey-alpha": (encoded("PNG", "LA"), None),
    "png-1-bit": (encoded("PNG", "1"), None),
    "png-alpha": (encoded("PNG", "RGBA"), 0),
    "png-palette": (encoded("PNG", "P"), None),
    "png-16-bit": (cv2.imencode(".png", RAMP.astype(np.uint16) * 257)[1].tobytes(), 0),
    "tiff-16-bit": (cv2.imencode(".tiff", RAMP.astype(np.uint16) * 257)[1].tobytes(), 0),
    "bmp": (encoded("BMP"), 0),
    "webp": (encoded("WEBP", lossless=True), 0),
    "gif": (encoded("GIF"), 40),
    "gif-animated": (encoded("GIF", frames=3), 40),
    "webp-animated": (encoded("WEBP", frames=3, lossless=True), 0),
    "apng": (encoded("PNG", frames=3), 0),
    "tiff-of-3-pages": (encoded("TIFF", frames=3), 0),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_image_that_is_refused(tmp_path, kind):
    path = write_coco(tmp_path, [], [image(1, file_name="x.jpg"), image(2)])
    (tmp_path / "x.jpg").write_bytes(REFUSED[kind])
    with pytest.raises(ValueError, match=r"train\.json: images\[0\] \(id 1, 'x\.jpg'\): the \w+ must ") as error:
        CocoDataset(path, on_bad="refuse")[0]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", READ)
def test_an_image_that_is_read(tmp_path, kind):
    data, difference = READ[kind]
    path = write_coco(tmp_path, [], [image(1, file_name="x.jpg")])
    (tmp_path / "x.jpg").write_bytes(data)
    found = CocoDataset(path, on_bad="refuse")[0].image
    assert found.shape == (HEIGHT, WIDTH, 3) and found.dtype == np.uint8
    if difference is None:  # grey, or few colours
        assert np.ptp(found) > 50 and ("grey" not in kind or (found.min(2) == found.max(2)).all())
    else:
        assert np.abs(found.astype(int) - RAMP).max() <= difference


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_thin_images_go_the_whole_way(tmp_path, size):
    cv2.imwrite(str(tmp_path / "x.png"), np.full((*size, 3), 50, np.uint8))
    width, height = size[::-1]
    data = CocoDataset(write_coco(tmp_path, [], [image(1, file_name="x.png", width=width, height=height)]))
    assert data[0].image.shape == (*size, 3) and not data.report.counts
    assert predict(SeesColours(), [tmp_path / "x.png"], tmp_path / "out", **OPTIONS).images == 1


def test_the_end_of_a_jpeg_is_found_in_one_pass(tmp_path):
    """Padding was stepped over byte by byte, a second for 10 MB."""
    (tmp_path / "x.jpg").write_bytes(JPEG[:2] + b"\xff" * 50_000_000 + JPEG[2:])
    assert read_image(tmp_path / "x.jpg").shape == (HEIGHT, WIDTH, 3)


def test_a_folder_with_everything_in_it(tmp_path):
    """What is broken costs no other file its detections."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number, data in enumerate(REFUSED.values()):
        (folder / f"a{number}.png").write_bytes(data)
    os.mkfifo(folder / "pipe.png")
    for name, goal in {"zero": "/dev/zero", "loop": "loop", "gone": "nothing"}.items():
        (folder / f"{name}.png").symlink_to(goal)
    good = [folder / "z.png", folder / ("ü" * 125 + ".png"), folder / ("y" * 251 + ".png"), folder / "b\n\udcff.png"]
    for file in good:
        file.write_bytes(encoded("PNG"))
    wide = folder / "wide.bmp"  # wider than a PNG can be
    wide.write_bytes(cv2.imencode(".bmp", np.zeros((1, 1_000_001, 3), np.uint8))[1].tobytes())
    done = predict(SeesColours(), find_files([str(folder)]), out, **OPTIONS)
    assert done.images == len(good) and len(done.refused) == len(REFUSED) + 1
    assert f"{wide}: its drawing must have sides of a PNG, 1000000 at most, got [1, 1000001]" in done.refused
    listed = json.loads((out / "detections.json").read_text())["images"]
    assert {entry["file_name"] for entry in listed} == set(map(str, good))
    assert {entry["drawing"] for entry in listed} | {"detections.json"} == set(os.listdir(out))
    for entry in listed:
        assert read_image(out / entry["drawing"]).shape == (400, 500, 3)


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "a\nb", "", "\U0001f40c", "w" * 100_000])
def test_names_of_classes_that_a_font_lacks(name):
    record = {"category_id": 0, "bbox": [10, 10, 50, 50], "score": 0.5}
    assert (draw(RAMP, [record], [name]) != draw(RAMP, [], [name])).any()
