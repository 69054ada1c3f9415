"""What the file of a COCO JSON can be: read, or refused in one line that names the file."""

import json
import os
import re
import resource

import pytest
from coco_files import CATEGORIES, DEEP, HALF, HUGE, NAN, image, thing, write_coco

from yolox_ops.trainer.data import CocoDataset
from yolox_ops.trainer.data.coco_records import category_ids


def lists(categories=CATEGORIES, images=None, annotations=()):
    return {"images": images or [image(1)], "annotations": list(annotations), "categories": categories}


def text(old, new, content=None):
    """JSON, with a piece of its text replaced."""
    whole = json.dumps(content or lists(annotations=[thing(1)]))
    assert whole.count(old) == 1
    return whole.replace(old, new)


WHOLE = json.dumps(lists(annotations=[thing(1)]))
# id: the file's content, and a part of the error.
REFUSED = {
    "empty": ("", "must be JSON, got an empty file"),
    "blank": (" \n ", "must be JSON, got an empty file"),
    "words": ("hello", "must be JSON, got Expecting value"),
    "truncated": (WHOLE[:-9], "must be JSON, got Expecting"),
    "truncated-in-a-string": (WHOLE[: WHOLE.index("1.png") + 3], "must be JSON, got Unterminated string"),
    "two-objects": (WHOLE + WHOLE, "must be JSON, got Extra data"),
    "lines": (json.dumps(thing(1)) + "\n" + json.dumps(thing(2)), "must be JSON, got Extra data"),
    "comma-at-the-end": (WHOLE[:-1] + ",}", "must be JSON, got "),
    "python": (repr(lists()), "must be JSON, got Expecting property name"),
    "comment": ("// mine\n" + WHOLE, "must be JSON, got Expecting value"),
    "xml": ("<annotations/>", "must be JSON, got Expecting value"),
    "zip": (b"PK\x03\x04" + bytes(range(256)), "must be JSON, got "),
    "latin-1": (WHOLE.replace("dog", "käse").encode("latin-1"), "must be JSON, got 'utf-8' codec can't decode"),
    "utf-16-cut": (WHOLE.encode("utf-16")[:-1], "must be JSON, got 'utf-16-le' codec can't decode"),
    "control-character": (WHOLE.replace("dog", "d\0g"), "must be JSON, got Invalid control character"),
    "nested-lists": ("[" * 10**6, "must be JSON, got "),
    "nested-objects": ('{"a":' * 10**6, "must be JSON, got "),
    "integer-of-10000-digits": (text('"area": 50', '"area": ' + "9" * 10_000), "must be JSON, got Exceeds the limit"),
    "null": ("null", "must be an object with images, annotations and categories, got None"),
    "number": ("3", "must be an object with images, annotations and categories, got 3"),
    "list": ([lists()], "must be an object with images, annotations and categories, got [{"),
    "no-images": ({"annotations": [], "categories": []}, "must be an object with images"),
    "no-annotations": ({"images": [], "categories": []}, "must be an object with images"),
    "no-categories": ({"images": [], "annotations": []}, "must be an object with images"),
    "results": ([{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}], "must be an object with"),
    "images-twice": (
        text('"categories"', '"images": [], "categories"'),
        " must have each key once, got 'images' again",
    ),
    "images-an-object": ({**lists(), "images": {"1": image(1)}}, ": images must be a list, got {"),
    "images-null": ({**lists(), "images": None}, ": images must be a list, got None"),
    "images-none": ({**lists(), "images": []}, "must list an image that can be used, got none"),
    "annotations-a-string": ({**lists(), "annotations": "x"}, ": annotations must be a list, got 'x'"),
    "categories-an-object": ({**lists(), "categories": {"3": "cat"}}, ": categories must be a list, got {"),
    "categories-none": (lists([]), ": categories must be one or more, got none"),
    "category-a-name": (lists(["cat"]), "categories[0] must be an object with an integer id and a name, got 'cat'"),
    "category-null": (lists([None]), "categories[0] must be an object with an integer id and a name, got None"),
    "category-no-name": (lists([{"id": 3}]), "categories[0] (id 3) must be an object with an integer id and a name"),
    "category-no-id": (lists([{"name": "cat"}]), "categories[0] must be an object with an integer id and a name"),
    **{
        f"category-name-{kind}": (lists([{"id": 3, "name": name}]), "categories[0] (id 3) must be an object with an")
        for kind, name in {"null": None, "number": 7, "list": ["cat"], "nan": NAN}.items()
    },
    **{
        f"category-id-{kind}": (lists([{"id": number, "name": "cat"}]), "must be an object with an integer id and a")
        for kind, number in {"text": "3", "float": 3.0, "bool": True, "null": None, "list": [3], "deep": DEEP}.items()
    },
    "category-id-beyond-64-bits": (lists([{"id": 2**63, "name": "cat"}]), "must have an id of 64 bits, got 9223372036"),
    "category-id-huge": (lists([{"id": -HUGE, "name": "cat"}]), "must have an id of 64 bits, got -1000000"),
    "category-id-taken": (lists([*CATEGORIES, {"id": 3, "name": "x"}]), "categories[2] (id 3) must have an id and a"),
    "category-name-taken": (lists([*CATEGORIES, {"id": 4, "name": "cat"}]), "categories[2] (id 4) must have an id and"),
    "category-key-twice": (
        text('"name": "cat"', '"name": "cat", "name": "cow"'),
        "categories[1] (id 3) must have each key once, got 'name' again",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_json_that_is_refused(tmp_path, kind):
    content, fact = REFUSED[kind]
    path = write_coco(tmp_path)
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=re.escape(fact)) as error:
        CocoDataset(path)
    said = str(error.value)
    assert said.startswith(str(path)) and len(said) < 1000 and "\n" not in said and said.isprintable()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_that_json_has(tmp_path, encoding):
    path = write_coco(tmp_path, categories=[{"id": 1, "name": "käse"}])
    path.write_bytes(json.dumps(json.loads(path.read_text()), ensure_ascii=False).encode(encoding))
    assert CocoDataset(path).class_names == ("käse",)


def test_unread_fields_may_hold_anything(tmp_path):
    odd = {"segmentation": DEEP, "attributes": {"": NAN}, "score": HUGE, "keypoints": "x", "id": None, "caption": HALF}
    path = write_coco(tmp_path, [thing(1, **odd)], [image(1, license=DEEP, coco_url=3, date_captured=HUGE)])
    assert CocoDataset(path, on_bad="refuse").report.objects == 1


def test_pipes_and_devices_are_no_files(tmp_path):
    path = write_coco(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for strange in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match=f"^{strange}: the file must be a regular one, got a pipe or a device$"):
            CocoDataset(strange, tmp_path)
    data = CocoDataset(path)
    for name, goal in (("1.png", None), ("2.png", "/dev/zero")):  # in place of what was there
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to(goal) if goal else os.mkfifo(tmp_path / name)
    for index in range(2):
        with pytest.warns(UserWarning, match="the file must be a regular one"):
            assert (data[index].image == 114).all()


@pytest.fixture
def half_a_terabyte():
    """Of addresses, and no more, whatever the system promises."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**39, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.usefixtures("half_a_terabyte")
def test_files_beyond_memory(tmp_path):
    path = write_coco(tmp_path)
    with (tmp_path / "1.png").open("wb") as file:
        file.truncate(2**40)
    with pytest.warns(UserWarning, match="the file must have at most 2147483647 bytes, got 1099511627776"):
        CocoDataset(path)[0]
    (tmp_path / "1.png").rename(tmp_path / "huge.json")
    with pytest.raises(ValueError, match=r"huge\.json: the file must fit into memory, got 1099511627776 bytes"):
        CocoDataset(tmp_path / "huge.json")


def test_many_categories_take_no_longer_each():
    """With a rule of every pair this would take minutes."""
    assert len(category_ids("x.json", [{"id": n, "name": str(n)} for n in range(200_000)])) == 200_000
