"""From image files to drawings and detections.json."""

import json
import os
import struct

import cv2
import numpy as np
import pytest
from painted_objects import CLASSES, Painted, SeesColours

from yolox_ops._files import written_whole
from yolox_ops.explanation.palette import COLORS
from yolox_ops.trainer.data.image import read_image
from yolox_ops.trainer.drawing import draw, place_label
from yolox_ops.trainer.predict import find_files, predict
from yolox_ops.yolox import yolox_nano

SCENES = Painted(
    (48, 64, [(0, 4, 6, 24, 40), (2, 40, 0, 64, 20)]), (60, 20, [(1, 3, 10, 18, 58)]), (500, 400, []), (32, 32, [])
)
OPTIONS = {"class_names": CLASSES, "height": 96, "width": 128}


def save(path, index):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), SCENES[index].image)
    return path


def test_writes_drawings_and_coco_results(tmp_path):
    files = [save(tmp_path / "in" / name, i) for i, name in enumerate(["b.png", "a b.bmp", "ü.tiff"])]
    out = tmp_path / "deep" / "out"
    done = predict(SeesColours(), files, out, **OPTIONS)
    assert done == (3, 3, []) and len(os.listdir(out)) == 4
    content = json.loads((out / "detections.json").read_text())
    assert content["categories"] == [{"id": i, "name": name} for i, name in enumerate(CLASSES)]
    assert [image["file_name"] for image in content["images"]] == [str(file) for file in files]
    assert [(image["height"], image["width"]) for image in content["images"]] == [(48, 64), (60, 20), (500, 400)]
    assert [(d["image_id"], d["category_id"]) for d in content["detections"]] == [(1, 0), (1, 2), (2, 1)]
    assert content["detections"][0] == {
        "image_id": 1,
        "category_id": 0,
        "bbox": pytest.approx([4, 6, 20, 34]),
        "score": pytest.approx(0.81),
    }
    names = ["b_detections.png", "a b_detections.png", "ü_detections.png"]
    assert [image["drawing"] for image in content["images"]] == names
    assert [cv2.imread(str(out / name)).shape for name in names] == [(384, 512, 3), (480, 160, 3), (500, 400, 3)]
    records = [{**d, "image_id": 1} for d in content["detections"][:2]]
    assert (cv2.imread(str(out / names[0])) == draw(SCENES[0].image, records, CLASSES)).all()


def bgr(label):
    return list(bytes.fromhex(COLORS[label][1:]))[::-1]


def test_a_drawing_shows_boxes_names_and_scores():
    image = np.full((600, 800, 3), 90, np.uint8)
    one = {"category_id": 4, "bbox": [100.2, 200, 300, 150.4], "score": 0.5}
    other = {"category_id": 1, "bbox": [400, 0, 399, 100], "score": 0.9}
    picture = draw(image, [one, other], ["a", "wolf", "c", "d", "e"])
    assert (image == 90).all() and picture.shape == image.shape
    for x, y in ((100, 300), (400, 300), (250, 200), (250, 350)):  # in the middle of each side
        assert picture[y, x].tolist() == bgr(4)
    assert picture[300, 150:350].min() == picture[300, 150:350].max() == 90
    for label, part in ((4, picture[182:196, 102:135]), (1, picture[3:17, 402:445])):  # above the box, and inside
        ink = [255] * 3 if label == 4 else [0] * 3  # white on dark blue, black on light blue
        written = np.abs(part.astype(int) - ink).max(2) <= 32  # OpenCV 4's strokes are thinner than a pixel
        assert (part == bgr(label)).all(2).mean() > 0.4 and written.sum() > 5
    words = [
        draw(image, [{**one, "score": score}], names)
        for score, names in ((0.5, "abcde"), (0.6, "abcde"), (0.5, "abcdx"))
    ]
    assert (words[0] != words[1]).any() and (words[0] != words[2]).any()


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((100, 100, 200, 160), (100, 80, 150, 100)),  # above
        ((100, 19, 200, 160), (100, 19, 150, 39)),  # inside
        ((370, 100, 400, 160), (350, 80, 400, 100)),
        ((-9, 299, 20, 300), (0, 279, 50, 299)),
        ((0, 5, 400, 300), (0, 5, 50, 25)),
    ],
)
def test_labels_stay_on_the_image(box, place):
    assert place_label(box, (50, 20), (300, 400), []) == place


def test_labels_do_not_hide_each_other():
    box, labels = (100, 100, 200, 160), []
    for _ in range(4):
        labels.append(place_label(box, (50, 20), (300, 400), labels))
    assert [top for _, top, _, _ in labels] == [80, 100, 160, 140]
    assert place_label(box, (50, 20), (300, 400), labels) == labels[0]  # where there is no room
    assert place_label((149, 119, 199, 170), (50, 20), (300, 400), labels[:1]) == (149, 119, 199, 139)
    assert place_label((150, 119, 199, 170), (50, 20), (300, 400), labels[:1]) == (150, 99, 200, 119)


@pytest.mark.parametrize("order", [1, -1])
def test_the_best_detection_is_drawn_on_top(order):
    records = [{"category_id": i, "bbox": [50, 50, 100, 100], "score": 0.5 + 0.1 * i} for i in (0, 1)]
    picture = draw(np.zeros((300, 400, 3), np.uint8), records[::order], "ab")  # is shown at twice the size
    assert picture.shape == (600, 800, 3) and picture[200, 100].tolist() == picture[200, 300].tolist() == bgr(1)
    for label, part in ((1, picture[84:96, 104:135]), (0, picture[106:116, 104:135])):
        assert (part == bgr(label)).all(2).mean() > 0.4


def test_drawings_never_overwrite(tmp_path):
    same = [
        save(tmp_path / folder / name, i)
        for i, (folder, name) in enumerate([("a", "x.png"), ("b", "x.png"), ("b", "x.bmp")])
    ]
    drawing = save(tmp_path / "out" / "x_detections.png", 3)
    before = drawing.read_bytes()
    predict(SeesColours(), [*same, drawing], tmp_path / "out", **OPTIONS)
    drawings = [image["drawing"] for image in json.loads((tmp_path / "out" / "detections.json").read_text())["images"]]
    assert drawings == [f"x_detections_{i}.png" for i in (2, 3, 4)] + ["x_detections_detections.png"]
    assert drawing.read_bytes() == before
    assert {*drawings, drawing.name, "detections.json"} == set(os.listdir(tmp_path / "out"))


def test_the_results_never_overwrite_an_image(tmp_path):
    image = save(tmp_path / "out" / "x.png", 0).rename(tmp_path / "out" / "detections.json")
    before = image.read_bytes()
    with pytest.raises(ValueError, match=rf"{image} must not be an input, for it is written"):
        predict(SeesColours(), [image], tmp_path / "out", **OPTIONS)
    assert image.read_bytes() == before


def test_a_link_in_the_folder_is_not_followed(tmp_path):
    file, other = save(tmp_path / "x.png", 0), tmp_path / "other.png"
    other.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x_detections.png").symlink_to(other)
    predict(SeesColours(), [file], tmp_path / "out", **OPTIONS)
    assert other.read_text() == "mine" and not (tmp_path / "out" / "x_detections.png").is_symlink()


def bad_files(folder):
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no image")
    return [folder / "empty.png", folder / "text.png", folder / "gone.png"]


def test_files_that_are_no_images_are_reported(tmp_path):
    files = bad_files(tmp_path)
    with pytest.raises(
        ValueError, match=r"got 3 of other kinds, such as .*empty\.png: .*; .*text\.png: .*; .*gone\.png"
    ):
        predict(SeesColours(), files, tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out").exists()
    done = predict(SeesColours(), [*files, save(tmp_path / "x.png", 0)], tmp_path / "out", **OPTIONS)
    assert (done.images, done.detections) == (1, 2) and len(done.refused) == 3
    assert done.refused[1] == f"{files[1]}: the file must be a whole image that OpenCV reads, got none"


def test_options_reach_the_detections(tmp_path):
    file = save(tmp_path / "x.png", 0)
    for options, count in (({"score_threshold": 0.9}, 0), ({"max_detections": 1}, 1), ({"method": "linear"}, 2)):
        assert predict(SeesColours(), [file], tmp_path, **OPTIONS, **options).detections == count
    with pytest.raises(ValueError, match="class_names must name the model's 3 classes, got 2"):
        predict(SeesColours(), [file], tmp_path, **{**OPTIONS, "class_names": ("a", "b")})
    with pytest.raises(ValueError, match="model must be in eval mode"):
        predict(yolox_nano(3), [file], tmp_path, **OPTIONS)


def test_find_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    b, a, deep = (save(tmp_path / name, 0) for name in ("d/b.png", "d/a.png", "d/e/c.png"))
    assert find_files([str(tmp_path / "d")]) == [a, b]
    assert find_files([str(b), str(tmp_path / "d"), "d/b.png"]) == [b, a]
    assert [str(file) for file in find_files(["d/**/*.png"])] == ["d/a.png", "d/b.png", "d/e/c.png"]
    odd = save(tmp_path / "[1].png", 0)
    assert find_files([str(odd), str(deep.parent)]) == [odd, deep]
    (tmp_path / "none").mkdir()
    for text in ("none", "gone.png", "d/*.jpg"):
        with pytest.raises(
            FileNotFoundError, match=rf"a folder or a glob with files, got '{text}'".replace("*", r"\*")
        ):
            find_files(["d", text])


@pytest.mark.parametrize(("channels", "kind"), [(1, np.uint8), (4, np.uint8), (3, np.uint16)])
def test_images_of_every_kind(tmp_path, channels, kind):
    cv2.imwrite(str(tmp_path / "x.png"), np.full((20, 30, channels), np.iinfo(kind).max, kind))
    image = read_image(tmp_path / "x.png", turn=True)
    assert image.shape == (20, 30, 3) and image.dtype == np.uint8 and (image == 255).all()


def test_images_are_turned_as_exif_says(tmp_path):
    jpeg = cv2.imencode(".jpg", SCENES[0].image)[1].tobytes()
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)  # orientation 6: turn to the right
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "x.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])
    predict(SeesColours(), [tmp_path / "x.jpg"], tmp_path, **{**OPTIONS, "height": 64})
    content = json.loads((tmp_path / "detections.json").read_text())
    assert [(image["height"], image["width"]) for image in content["images"]] == [(64, 48)]
    assert content["detections"][0]["bbox"] == pytest.approx([48 - 40, 4, 34, 20], abs=1)
    assert cv2.imread(str(tmp_path / "x_detections.png")).shape == (512, 384, 3)


def test_written_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    for text in ("one", "two"):
        with written_whole(path) as temporary:
            temporary.write_text(text)
            assert temporary.suffix == ".txt" and not (path.exists() and path.read_text() == text)
        assert path.read_text() == text
    with pytest.raises(RuntimeError), written_whole(path) as temporary:
        temporary.write_text("three")
        raise RuntimeError
    assert path.read_text() == "two" and os.listdir(path.parent) == ["file.txt"]
