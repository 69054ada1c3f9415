"""What a record of a COCO JSON of others can be, kind by kind: each is counted, in words that name it."""

import os
import warnings

import pytest
from coco_files import CATEGORIES, DEEP, HALF, HUGE, INF, NAN, PIXELS, image, thing, write_coco

from yolox_ops.trainer.data import CocoDataset
from yolox_ops.trainer.data.report import BAD, NOTES
from yolox_ops.trainer.evaluate import average_precision

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
