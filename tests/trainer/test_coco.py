"""CocoDataset on small files: its samples, its classes, and its truth for pycocotools."""

import json
import os
import pickle

import cv2
import numpy as np
import pytest
from coco_files import CATEGORIES, HEIGHT, PIXELS, WIDTH, image, same, thing, write_coco
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch.utils.data import DataLoader

from benchmarks.peers.megvii import megvii_coco
from yolox_ops.trainer.data import CocoDataset
from yolox_ops.trainer.data.report import BAD


def test_samples(tmp_path):
    things = [
        thing(1, image_id=2, category_id=7),
        thing(2, image_id=1, bbox=[0.5, 1.5, 2.25, 3]),
        thing(3, image_id=2),
        {"image_id": 2, "category_id": 7, "bbox": [0, 0, WIDTH, HEIGHT]},
    ]
    data = CocoDataset(write_coco(tmp_path, things, [image(2), image(1), image(9, file_name="2.png")]))
    assert len(data) == 3 and list(data.image_ids) == [2, 1, 9]
    assert list(data.class_names) == ["cat", "dog"] and list(data.category_ids) == [3, 7]
    samples = list(data)
    for sample, boxes, labels in zip(
        samples,
        [[[10, 20, 40, 60], [10, 20, 40, 60], [0, 0, 100, 80]], [[0.5, 1.5, 2.75, 4.5]], np.zeros((0, 4))],
        [[1, 0, 1], [0], []],
        strict=True,
    ):
        assert same(sample, (PIXELS, np.array(boxes, np.float32), np.array(labels, np.int64)))
    assert same(data[-1], samples[2])
    with pytest.raises(IndexError):
        data[3]
    assert str(data.report) == f"{data.path}: 3 images, 4 objects"


def test_labels_and_boxes_are_megviis(tmp_path):
    rng = np.random.default_rng(1)
    low, size = rng.uniform(0, 79, (40, 2)).round(2), rng.uniform(1, 60, (40, 2)).round(2)  # many over the far borders
    things = [
        thing(n + 1, image_id=n % 3 + 1, category_id=(3, 7)[n % 2], bbox=[*low[n], *size[n]], iscrowd=int(n % 5 == 0))
        for n in range(40)
    ]
    path = write_coco(tmp_path, things, [image(1), image(2), image(3, file_name="2.png")])
    data, peer = CocoDataset(path), megvii_coco(path, (HEIGHT, WIDTH))
    assert data.report.objects == 32 and data.report.counts["clipped"] > 5
    for index, sample in enumerate(data):
        assert np.array_equal(sample.boxes, peer.load_anno(index)[:, :4].astype(np.float32))
        assert np.array_equal(sample.labels, peer.load_anno(index)[:, 4])


def test_the_folder_of_the_images(tmp_path):
    path = write_coco(tmp_path, [], [image(1, file_name="sub/link.png"), image(2, file_name="a..b.png")])
    (tmp_path / "pictures/sub").mkdir(parents=True)
    os.rename(tmp_path / "1.png", tmp_path / "pictures/a..b.png")
    os.symlink(tmp_path / "2.png", tmp_path / "pictures/sub/link.png")
    data = CocoDataset(str(path), tmp_path / "pictures", on_bad="refuse")
    assert all(np.array_equal(sample.image, PIXELS) for sample in data)
    with pytest.raises(NotADirectoryError, match=r"images must be a folder, got .*/none"):
        CocoDataset(path, tmp_path / "none")


def test_a_json_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(write_coco(tmp_path).parent)
    assert len(CocoDataset("train.json", on_bad="refuse")) == 2


def test_json_with_a_byte_order_mark(tmp_path):
    path = write_coco(tmp_path, [], [image(1)], [{"id": 1, "name": "käse"}])
    path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False), encoding="utf-8-sig")
    assert CocoDataset(path).class_names == ("käse",)


def test_class_names(tmp_path):
    things = [thing(1, category_id=7), thing(2, category_id=3), thing(3, category_id=7)]
    path = write_coco(tmp_path, things)
    data = CocoDataset(path, on_bad="refuse", class_names=["cow", "dog", "hen", "cat"])
    assert data[0].labels.tolist() == [1, 3, 1]
    assert data.class_names == ("cow", "dog", "hen", "cat") and data.category_ids == [1, 7, 2, 3]
    coco = data.coco()
    assert [record["category_id"] for record in coco["annotations"]] == [7, 3, 7]
    assert coco["categories"][:2] == [{"id": 1, "name": "cow"}, {"id": 7, "name": "dog"}]

    data = CocoDataset(path, class_names=["dog"])
    assert data[0].labels.tolist() == [0, 0] and data.report.counts == {"other_class": 1}
    assert data.report.examples["other_class"][0].startswith(
        "annotations[1] (id 2): category_id must be that of a name"
    )
    with pytest.raises(ValueError, match=r"got 1:\n  annotations\[1\]"):
        CocoDataset(path, on_bad="refuse", class_names=["dog"])


def test_a_worker_gives_the_same_and_warns(tmp_path, capfd):
    things = [thing(1), thing(2, image_id=2), thing(3, image_id=2)]
    data = CocoDataset(write_coco(tmp_path, things, [5, image(1), image(2)]))
    copy = pickle.loads(pickle.dumps(data))
    assert all(same(a, b) for a, b in zip(data, copy, strict=True)) and copy.coco() == data.coco()
    (tmp_path / "1.png").write_bytes(b"no image")
    first, second = DataLoader(data, None, num_workers=1, multiprocessing_context="spawn")
    assert (first.image == 114).all() and len(first.boxes) == 0
    assert np.array_equal(second.image, PIXELS) and len(second.boxes) == 2
    assert "train.json: images[1] (id 1, '1.png'): the file must be a whole image" in capfd.readouterr().err


def evaluate(truth, detections):
    """AP over all, small, medium and large objects."""
    gt = COCO()
    gt.dataset = truth
    gt.createIndex()
    evaluation = COCOeval(gt, gt.loadRes(detections), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[[0, 3, 4, 5]].tolist()


def test_pycocotools_takes_the_truth(tmp_path):
    crowd = thing(0, bbox=[50, 0, 50, 80], area=4000, iscrowd=1)
    things = [  # ids repeat and are 0, and the second's area is not that of its box
        thing(0, area=1200),
        thing(0, bbox=[-5, 30, 60, 40], area=900),
        thing(4, image_id=2, category_id=7),
        thing(5, image_id=2, bbox=[0, 0, 0, 5]),
        crowd,
    ]
    data = CocoDataset(write_coco(tmp_path, things))
    truth = data.coco()
    assert [image["id"] for image in truth["images"]] == [1, 2] == data.image_ids
    assert [record["iscrowd"] for record in truth["annotations"]] == [0, 0, 1, 0]
    perfect = [
        {"image_id": r["image_id"], "category_id": r["category_id"], "bbox": r["bbox"], "score": 0.5}
        for r in truth["annotations"]
        if not r["iscrowd"]
    ]
    in_crowd = {"image_id": 1, "category_id": 3, "bbox": [60, 10, 20, 20], "score": 0.9}
    assert evaluate(truth, [*perfect, in_crowd]) == pytest.approx([1, 1, 1, -1])
    beside = {"image_id": 1, "category_id": 3, "bbox": [0, 0, 40, 5], "score": 0.9}
    assert evaluate(data.coco(), [*perfect, beside])[0] < 0.9


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
near = st.integers(-60, 160) | st.floats(-60, 160)
odd = {
    "id": json_values,
    "image_id": st.integers(1, 3) | json_values,
    "category_id": st.sampled_from([3, 7]) | json_values,
    "bbox": st.lists(near, min_size=4, max_size=4) | json_values,
    "area": json_values,
    "iscrowd": st.sampled_from([0, 1]) | json_values,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("odd")
    cv2.imwrite(str(path / "1.png"), PIXELS)
    return path


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.fixed_dictionaries({}, optional=odd) | json_values, max_size=6),
    st.lists(st.fixed_dictionaries({}, optional={"id": json_values, "file_name": json_values}) | json_values),
)
def test_every_record_is_accounted_for(folder, annotations, images):
    listed = [image(1), *images]
    content = {"images": listed, "annotations": annotations, "categories": CATEGORIES}
    (folder / "odd.json").write_text(json.dumps(content))
    data = CocoDataset(folder / "odd.json")
    counts = data.report.counts
    skipped = sum(counts[kind] for kind in BAD if BAD[kind][0] == "skipped {} annotation{}")
    assert len(annotations) == data.report.objects + counts["crowd"] + skipped
    assert len(listed) == len(data) + sum(counts[kind] for kind in BAD if BAD[kind][0] == "skipped {} image{}")
    sample = data[0]
    assert len(sample.boxes) == len(sample.labels) == data.report.objects
    assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all() and (sample.boxes >= 0).all()
    assert (sample.boxes <= [WIDTH, HEIGHT] * 2).all() and set(sample.labels.tolist()) <= {0, 1}
    assert "\n" not in str(data.report) and str(data.report).encode()
