"""What a COCO JSON of others can be, kind by kind: each is refused or counted, in words that name file and record."""

import json
import os
import re
import resource
import warnings

import pytest
from coco_files import CATEGORIES, PIXELS, image, thing, write_coco

from yolox_ops.yolox.data import CocoDataset
from yolox_ops.yolox.data.coco_records import category_ids
from yolox_ops.yolox.data.report import BAD, NOTES
from yolox_ops.yolox.evaluate import average_precision

NAN, INF, HUGE, HALF = float("nan"), float("inf"), 10**4000, "\ud800"
DEEP = json.loads("[" * 500 + "]" * 500)


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


ODD = {"text": "1", "float": 1.0, "bool": True, "null": None, "list": [1], "object": {}, "nan": NAN, "deep": DEEP}
BOXES = {
    **{kind: value for kind, value in ODD.items() if kind != "list"},
    "none": [],
    "of-3": [1, 2, 3],
    "of-5": [1, 2, 3, 4, 5],
    "corners": [[1, 2], [3, 4]],
    "nested": [[1, 2, 3, 4]],
    "texts": ["1", "2", "3", "4"],
    "with-null": [1, 2, None, 4],
    "with-bool": [1, 2, 3, True],
    "with-nan": [NAN, 2, 3, 4],
    "with-inf": [1, 2, INF, 4],
    "with-minus-inf": [1, -INF, 3, 4],
    "with-huge": [1, 2, 3, HUGE],
    "far": [1, 2, 1e300, 4],
}
SIZES = {**ODD, "zero": 0, "negative": -100, "huge": HUGE, "beyond-2^30-pixels": 2**30}
NAMES = {
    **ODD,
    "text": "",
    "absolute": "/etc/passwd",
    "home": "~/1.png",
    "parent": "../1.png",
    "parent-within": "folder/../1.png",
    "parent-of-all": "../" * 99 + "dev/zero",
    "backslashes": "..\\1.png",
    "url": "http://example.org/1.png",
    "with-nul": "1.png\0",
    "half-a-letter": HALF,
    "escape-sequence": "\x1b[2J.png",
    "a-folder": "folder",
    "dot": ".",
    "slash-at-the-end": "1.png/",
    "a-pipe": "pipe",
    "a-link-to-a-device": "zero",
    "a-link-to-itself": "loop",
    "a-link-to-nothing": "dangling",
    "of-100000-letters": "x" * 100_000,
    "in-100000-folders": "x/" * 100_000,
}
# id: the kind in the report, the section, and the record that stands at its [1].
COUNTED = {
    **{f"image-{kind}": ("image_fields", "images", value) for kind, value in ODD.items() if kind != "object"},
    **{f"image-id-{kind}": ("image_fields", "images", image(value)) for kind, value in ODD.items()},
    "image-id-missing": ("image_fields", "images", {"file_name": "1.png", "width": 100, "height": 80}),
    "image-id-huge": ("image_fields", "images", image(HUGE // 9)),
    "image-id-beyond-64-bits": ("image_fields", "images", image(-(2**63) - 1)),
    "image-id-taken": ("image_id_taken", "images", image(1, file_name="2.png")),
    **{
        f"image-{side}-{kind}": ("image_fields", "images", image(2, **{side: value}))
        for side in ("width", "height")
        for kind, value in SIZES.items()
    },
    "image-no-size": ("image_fields", "images", {"id": 2, "file_name": "1.png"}),
    **{f"file_name-{kind}": (None, "images", image(2, file_name=value)) for kind, value in NAMES.items()},
    "file_name-missing": ("image_fields", "images", {"id": 2, "width": 100, "height": 80}),
    **{f"annotation-{kind}": (None, "annotations", value) for kind, value in ODD.items()},
    **{f"image_id-{kind}": ("unknown_image", "annotations", thing(9, image_id=value)) for kind, value in ODD.items()},
    "image_id-unknown": ("unknown_image", "annotations", thing(9, image_id=5)),
    "image_id-huge": ("unknown_image", "annotations", thing(9, image_id=HUGE)),
    "image_id-missing": ("unknown_image", "annotations", {"category_id": 3, "bbox": [1, 2, 3, 4]}),
    **{
        f"category_id-{kind}": ("unknown_category", "annotations", thing(9, category_id=value))
        for kind, value in ODD.items()
    },
    "category_id-unknown": ("unknown_category", "annotations", thing(9, category_id=4)),
    "category_id-missing": ("unknown_category", "annotations", {"image_id": 1, "bbox": [1, 2, 3, 4]}),
    **{f"bbox-{kind}": ("bbox", "annotations", thing(9, bbox=value)) for kind, value in BOXES.items()},
    "bbox-missing": ("bbox", "annotations", {"image_id": 1, "category_id": 3}),
    "bbox-no-width": ("no_size", "annotations", thing(9, bbox=[1, 2, 0, 4])),
    "bbox-negative-height": ("no_size", "annotations", thing(9, bbox=[1, 2, 3, -4])),
    "bbox-denormal": ("no_size", "annotations", thing(9, bbox=[50, 2, 5e-324, 4])),
    "bbox-outside": ("outside", "annotations", thing(9, bbox=[200, 2, 3, 4])),
    "bbox-over-the-border": ("clipped", "annotations", thing(9, bbox=[-5, 2, 2e9, 4])),
    **{
        f"iscrowd-{kind}": ("annotation_fields", "annotations", thing(9, iscrowd=value))
        for kind, value in ODD.items()
        if kind not in ("float", "bool")  # which are 1
    },
    "iscrowd-2": ("annotation_fields", "annotations", thing(9, iscrowd=2)),
    "iscrowd": ("crowd", "annotations", thing(9, iscrowd=True)),
    **{f"area-{kind}": ("area", "annotations", thing(9, area=value)) for kind, value in ODD.items() if kind != "float"},
    "area-negative": ("area", "annotations", thing(9, area=-1)),
    "area-huge": ("area", "annotations", thing(9, area=HUGE)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile")
    (path / "folder").mkdir()
    os.mkfifo(path / "pipe")
    for name, goal in {"zero": "/dev/zero", "loop": "loop", "dangling": "nothing"}.items():
        (path / name).symlink_to(goal)
    return path


@pytest.mark.parametrize("name", COUNTED)
def test_a_record_that_is_counted(folder, name):
    kind, section, record = COUNTED[name]
    content = {"images": [image(1)], "annotations": [thing(1)], "categories": CATEGORIES}
    content[section] += [record, image(3) if section == "images" else thing(3)]
    path = write_coco(folder, content["annotations"], content["images"])
    (folder / "3.png").write_bytes((folder / "1.png").read_bytes())
    data = CocoDataset(path)
    ((found, count),) = data.report.counts.items()
    assert count == 1 and found == (kind or found) and found in BAD | NOTES
    said = data.report.examples[found][0]
    assert said.startswith(f"{section}[1]") and len(said) < 1000 and said.isprintable()
    assert (len(data), data.report.objects) == (
        1 + (section == "images"),
        1 + (section == "annotations") + (found in ("clipped", "area")),
    )
    assert found in NOTES or len(data[0].boxes) == data.report.objects
    data.coco()
    if found in BAD:
        with pytest.raises(ValueError, match=r"must hold no bad record with on_bad='refuse', got 1:\n  " + section):
            CocoDataset(path, on_bad="refuse")


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("image_fields", '"file_name": "2.png"', '"file_name": "2.png", "file_name": "1.png"'),
        ("annotation_fields", '"id": 9', '"id": 9, "bbox": [0, 0, 1, 1]'),
    ],
)
def test_a_key_that_comes_twice(tmp_path, kind, old, new):
    path = write_coco(tmp_path, [thing(1), thing(9)])
    whole = path.read_text()
    assert whole.count(old) == 1
    path.write_text(whole.replace(old, new))
    report = CocoDataset(path).report
    assert report.counts == {kind: 1} and "must have each key once, got '" in report.examples[kind][0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_that_json_has(tmp_path, encoding):
    path = write_coco(tmp_path, categories=[{"id": 1, "name": "käse"}])
    path.write_bytes(json.dumps(json.loads(path.read_text()), ensure_ascii=False).encode(encoding))
    assert CocoDataset(path).class_names == ("käse",)


def test_what_nobody_reads_may_be_odd(tmp_path):
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


def test_a_link_out_of_the_folder_is_noted(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    path = write_coco(
        tmp_path / "in", [], [image(1), image(2), image(3, file_name="away/4.png"), image(5, file_name="sub/6.png")]
    )
    (tmp_path / "in/1.png").rename(tmp_path / "1.png")
    (tmp_path / "in/1.png").symlink_to("../1.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/4.png").write_bytes((tmp_path / "1.png").read_bytes())
    (tmp_path / "in/away").symlink_to("../out")
    (tmp_path / "in/sub/6.png").symlink_to("../2.png")
    data = CocoDataset(path, on_bad="refuse")
    assert data.report.counts == {"linked": 2} and (data[2].image == PIXELS).all()
    assert data.report.examples["linked"][1] == (
        f"images[2] (id 3, 'away/4.png'): file_name leads by a link to {str(tmp_path / 'out/4.png')!r}"
    )
    assert "2 on an image outside the folder, where a link leads" in str(data.report)
    (tmp_path / "in").rename(tmp_path / "real")
    (tmp_path / "in").symlink_to("real")  # a folder that is a link itself is no way out
    assert CocoDataset(path).report.counts == {"linked": 2}


def test_ids_of_64_bits_are_evaluated(tmp_path):
    ids = 2**63 - 1, -(2**63)
    things = [thing(1, image_id=ids[0]), thing(2, image_id=ids[1])]
    truth = CocoDataset(write_coco(tmp_path, things, [image(i, file_name="1.png") for i in ids])).coco()
    found = [{**{k: r[k] for k in ("image_id", "category_id", "bbox")}, "score": 0.5} for r in truth["annotations"]]
    assert average_precision(truth, found).ap > 0.999


def test_sizes_that_a_record_claims_take_no_memory(tmp_path):
    path = write_coco(tmp_path, [], [image(1, width=2**15, height=2**15), image(2, width=1, height=2**30)])
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_text("no image")
    data = CocoDataset(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [sample.image.shape for sample in data] == [(2048, 2048, 3), (2048, 1, 3)]


def test_many_categories_take_no_longer_each():
    """With a rule of every pair this would take minutes."""
    assert len(category_ids("x.json", [{"id": n, "name": str(n)} for n in range(200_000)])) == 200_000
