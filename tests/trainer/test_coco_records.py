"""What CocoDataset reports of a JSON and what it refuses."""

import json

import numpy as np
import pytest
from coco_files import CATEGORIES, image, thing, write_coco

from yolox_ops.trainer.data import CocoDataset

EMPTY = {"images": [], "annotations": [], "categories": []}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", r"must be JSON, got an empty file"),
        ("{", r"must be JSON, got Expecting property name .*line 1 column 2"),
        ("[" * 100_000, r"must be JSON, got \w"),
        (b"\xff\xfe\xff", r"must be JSON, got .*codec can't decode"),
        (f'{{"id": {"9" * 5000}}}', r"must be JSON, got Exceeds the limit"),
        ([{}], r"must be an object with images, annotations and categories, got \[\{\}\]"),
        ({"images": [], "annotations": []}, r"must be an object with .* categories, got \['images', 'annotations'\]"),
        ({"annotations": [], "categories": []}, r"must be an object with images"),
        ({"images": [], "categories": []}, r"must be an object with images"),
        ({**EMPTY, "images": {}}, r": images must be a list, got \{\}"),
        ({**EMPTY, "annotations": None}, r": annotations must be a list, got None"),
        ({**EMPTY, "categories": "cat"}, r": categories must be a list, got 'cat'"),
        (EMPTY, r": categories must be one or more, got none"),
        (
            {**EMPTY, "categories": CATEGORIES},
            r"must list an image that can be used, got none: .*: 0 images, 0 objects",
        ),
    ],
)
@pytest.mark.parametrize("on_bad", ["skip", "refuse"])
def test_a_wrong_json(tmp_path, content, words, on_bad):
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path = tmp_path / "train.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"/train\.json:? " + words.removeprefix(": ")):
        CocoDataset(path, on_bad=on_bad)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none/train\.json"):
        CocoDataset(tmp_path / "none/train.json")
    with pytest.raises(IsADirectoryError):
        CocoDataset(tmp_path)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"id": 7, "name": "cow"}, r"categories\[2\] \(id 7\) must have an id and a name of its own"),
        ({"id": 9, "name": "dog"}, r"categories\[2\] \(id 9\) must have an id and a name of its own"),
        ({"id": "9", "name": "cow"}, r"categories\[2\] \(id '9'\) must be an object with an integer id and a name"),
        ({"id": True, "name": "cow"}, r"categories\[2\] \(id True\) must be an object with an integer id and a name"),
        ({"id": 9}, r"categories\[2\] \(id 9\) must be an object with an integer id and a name, got \{'id': 9\}"),
        ("cow", r"categories\[2\] must be an object with an integer id and a name, got 'cow'"),
    ],
)
def test_a_wrong_category(tmp_path, record, words):
    with pytest.raises(ValueError, match=r"/train\.json: " + words):
        CocoDataset(write_coco(tmp_path, categories=[*CATEGORIES, record]))


def refused(path):
    with pytest.raises(ValueError, match=r"train\.json must hold no bad record with on_bad='refuse', got") as error:
        CocoDataset(path, on_bad="refuse")
    return str(error.value)


@pytest.mark.parametrize(
    ("record", "kind", "words"),
    [
        (5, "image_fields", "images[1]: must be an object, got 5"),
        (image(None), "image_fields", "images[1] (id None, 'None.png'): id must be an integer of 64 bits, got None"),
        ({"file_name": "2.png"}, "image_fields", "images[1] ('2.png'): id must be an integer of 64 bits, got None"),
        (image(2.0), "image_fields", "images[1] (id 2.0, '2.0.png'): id must be an integer of 64 bits, got 2.0"),
        ({"id": 2}, "image_fields", "images[1] (id 2): file_name must be a name, got None"),
        (image(2, file_name=""), "image_fields", "images[1] (id 2, ''): file_name must be a name, got ''"),
        (image(2, width=0), "image_fields", "images[1] (id 2, '2.png'): width and height must be positive, "),
        (image(2, height=80.0), "image_fields", "images[1] (id 2, '2.png'): width and height must be positive, "),
        (image(2, width=2**29), "image_fields", "images[1] (id 2, '2.png'): width and height must be positive, "),
        (image(1, file_name="2.png"), "image_id_taken", "images[1] (id 1, '2.png'): id must not be that of an image"),
        (image(2, file_name="../2.png"), "image_outside", "images[1] (id 2, '../2.png'): file_name must lie in "),
        (image(2, file_name="a/../2.png"), "image_outside", "images[1] (id 2, 'a/../2.png'): file_name must lie in "),
        (image(2, file_name="/2.png"), "image_outside", "images[1] (id 2, '/2.png'): file_name must lie in "),
        (image(2, file_name="none.png"), "image_missing", "images[1] (id 2, 'none.png'): file_name must be a file in "),
        (image(2, file_name="folder"), "image_missing", "images[1] (id 2, 'folder'): file_name must be a file in "),
        (image(2, file_name="a\0b\ud800\n"), "image_missing", r"images[1] (id 2, 'a\x00b\ud800\n'): file_name must be"),
    ],
)
def test_a_bad_image_record(tmp_path, record, kind, words):
    (tmp_path / "folder").mkdir()
    path = write_coco(tmp_path, [thing(1), thing(2, image_id=3)], [image(1), record, image(3, file_name="2.png")])
    data = CocoDataset(path)
    assert data.report.counts == {kind: 1} and data.report.examples[kind][0].startswith(words)
    assert str(data.report).startswith(f"{path}: 2 images, 2 objects; skipped 1 image: 1 ")
    assert data.image_ids == [1, 3] and [len(sample.boxes) for sample in data] == [1, 1]
    assert f"got 1:\n  {words}" in refused(path)


@pytest.mark.parametrize(
    ("record", "kind", "words"),
    [
        ([], "annotation_fields", "annotations[1]: must be an object, got []"),
        (thing(9, iscrowd=2), "annotation_fields", "annotations[1] (id 9): iscrowd must be 0 or 1, got 2"),
        (
            thing(9, image_id=5),
            "unknown_image",
            "annotations[1] (id 9): image_id must be that of a listed image, got 5",
        ),
        (
            thing(9, image_id=[1]),
            "unknown_image",
            "annotations[1] (id 9): image_id must be that of a listed image, got",
        ),
        (thing(9, image_id=True), "unknown_image", "annotations[1] (id 9): image_id must be that of a listed image"),
        (thing(9, category_id=1), "unknown_category", "annotations[1] (id 9): category_id must be that of a listed "),
        (thing(9, category_id={}), "unknown_category", "annotations[1] (id 9): category_id must be that of a listed "),
        ({"image_id": 1, "category_id": 3}, "bbox", "annotations[1]: bbox must be [x, y, width, height], each finite "),
        (thing(9, bbox=[1, 2, 3]), "bbox", "annotations[1] (id 9): bbox must be [x, y, width, height], each finite "),
        (thing(9, bbox=[1, 2, 3, 4, 5]), "bbox", "annotations[1] (id 9): bbox must be [x, y, width, height], each "),
        (thing(9, bbox=[1, 2, 3, "4"]), "bbox", "annotations[1] (id 9): bbox must be [x, y, width, height], each "),
        (thing(9, bbox=[1, 2, 3, True]), "bbox", "annotations[1] (id 9): bbox must be [x, y, width, height], each "),
        (thing(9, bbox=[1, 2, np.nan, 4]), "bbox", "annotations[1] (id 9): bbox must be [x, y, width, height], each "),
        (thing(9, bbox=[-np.inf, 2, 3, 4]), "bbox", "annotations[1] (id 9): bbox must be [x, y, width, height], each "),
        (thing(9, bbox=[1, 2, 3, 10**400]), "bbox", "annotations[1] (id 9): bbox must be [x, y, width, height], each "),
        (thing(9, bbox=[1, 2, 0, 4]), "no_size", "annotations[1] (id 9): bbox must have a positive width and height, "),
        (
            thing(9, bbox=[9, 9, 3, -4]),
            "no_size",
            "annotations[1] (id 9): bbox must have a positive width and height, ",
        ),
        (thing(9, bbox=[50, 5, 1e-9, 4]), "no_size", "annotations[1] (id 9): bbox must have a size in its image of 10"),
        (
            thing(9, bbox=[100, 5, 3, 4]),
            "outside",
            "annotations[1] (id 9): bbox must lie in its image of 100 x 80, got",
        ),
        (thing(9, bbox=[5, 80, 3, 4]), "outside", "annotations[1] (id 9): bbox must lie in its image of 100 x 80, got"),
        (thing(9, bbox=[-3, 5, 3, 4]), "outside", "annotations[1] (id 9): bbox must lie in its image of 100 x 80, got"),
        (thing(9, bbox=[5, -9, 3, 4], iscrowd=1), "outside", "annotations[1] (id 9): bbox must lie in its image of "),
    ],
)
def test_a_bad_annotation(tmp_path, record, kind, words):
    path = write_coco(tmp_path, [thing(8), record, thing(10, category_id=7)])
    data = CocoDataset(path)
    assert data.report.counts == {kind: 1} and data.report.examples[kind][0].startswith(words)
    assert str(data.report).startswith(f"{path}: 2 images, 2 objects; skipped 1 annotation: 1 ")
    assert data[0].labels.tolist() == [0, 1] and len(data.coco()["annotations"]) == 2
    assert f"got 1:\n  {words}" in refused(path)


def test_annotations_of_a_skipped_image(tmp_path):
    path = write_coco(tmp_path, [thing(8), thing(9, image_id=2)], [image(1), image(2, file_name="none.png")])
    report = CocoDataset(path).report
    assert report.counts == {"image_missing": 1, "skipped_image": 1} and report.objects == 1
    words = "annotations[1] (id 9): image_id must be that of a usable image, got 2"
    assert report.examples["skipped_image"] == [words]
    assert refused(path).endswith(words)


def test_usual_records_are_accepted(tmp_path):
    things = [
        thing(1, bbox=[-10, -20, 30, 40]),
        thing(2, bbox=[90, 70, 20.5, 30]),
        thing(3, bbox=[-5, 0, 200, 80], iscrowd=1),
        thing(4, area=0),
        thing(5, area=float("nan")),
        thing(6, area=10**400),
        thing(7, bbox=[0, 0, 100.000001, 80]),  # float32 knows no difference
        {"image_id": 1, "category_id": 3, "bbox": [1, 1, 2, 3]},
    ]
    path = write_coco(tmp_path, things)
    data = CocoDataset(path, on_bad="refuse")
    assert data.report.counts == {"clipped": 2, "crowd": 1, "area": 3} and data.report.objects == 7
    assert data[0].boxes[:2].tolist() == [[0, 0, 20, 20], [90, 70, 100, 80]]
    assert len(data[0].boxes) == len(data[0].labels) == 7
    assert [record["area"] for record in data.coco()["annotations"]] == [50, 50, 50, 1200, 1200, 1200, 50, 6]
    assert [record["bbox"] for record in data.coco()["annotations"]] == [record["bbox"] for record in things]
    place = "such as annotations[{}] (id {}): "
    assert str(data.report) == (
        f"{path}: 2 images, 7 objects; 6 notes on what was kept: "
        f"2 on a box clipped to its image, {place.format(0, 1)}bbox must lie in its image of 100 x 80, "
        f"got [-10, -20, 30, 40]; 1 on a crowd, for evaluation alone, {place.format(2, 3)}iscrowd is 1; "
        f"3 on an area that is no positive number, replaced by that of the bbox, "
        f"{place.format(3, 4)}area must be positive and finite, got 0"
    )


def test_many_bad_records(tmp_path):
    things = [thing(n, bbox=[1, 2, 3, 0]) for n in range(25)] + [thing(99, image_id=9)]
    path = write_coco(tmp_path, things, [image(1), image(2, file_name="none.png")])
    report = CocoDataset(path).report
    assert report.counts == {"image_missing": 1, "unknown_image": 1, "no_size": 25}
    assert [example.split(":")[0] for example in report.examples["no_size"]] == [
        f"annotations[{n}] (id {n})" for n in range(10)
    ]
    assert "; skipped 1 image: 1 whose file is not there, such as images[1] (id 2, 'none.png'): " in str(report)
    assert "; skipped 26 annotations: 1 of an image that is not listed, such as annotations[25] (id 99): " in str(
        report
    )
    assert "got 9; 25 with a box of zero size, such as annotations[0] (id 0): " in str(report)
    lines = refused(path).splitlines()
    assert lines[0].endswith("got 27:") and lines[-1] == "  and 17 more" and len(lines) == 12
    assert lines[1].startswith("  images[1] ") and lines[2].startswith("  annotations[25] ")


def test_no_usable_image(tmp_path):
    path = write_coco(tmp_path, [thing(1)], [image(1, file_name="none.png"), 5])
    with pytest.raises(
        ValueError, match=r"train\.json must list an image .*got none: .*; skipped 2 images: 1 without .*"
    ):
        CocoDataset(path)


def test_options_are_checked(tmp_path):
    with pytest.raises(ValueError, match="on_bad must be one of 'skip', 'refuse', got 'drop'"):
        CocoDataset(write_coco(tmp_path), on_bad="drop")
    for names in ("cat", ["cat", 3]):
        with pytest.raises(TypeError, match="class_names must be a sequence of names, got "):
            CocoDataset(write_coco(tmp_path), class_names=names)
    with pytest.raises(ValueError, match="class_names must be distinct, got "):
        CocoDataset(write_coco(tmp_path), class_names=["cat", "cat"])
    with pytest.raises(ValueError, match=r"train\.json must have a category of class_names, got \['cat', 'dog'\]"):
        CocoDataset(write_coco(tmp_path), class_names=["Cat", "cow"])
