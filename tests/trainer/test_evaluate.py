"""From a model to COCO's numbers: letterboxing there and back, and average precision against hand-made cases."""

import copy
import math

import numpy as np
import pytest
import torch
from models import confident
from painted_objects import Painted, SeesColours, annotation

from yolox_ops.trainer.data.letterbox import letterbox
from yolox_ops.trainer.evaluate import average_precision, evaluate, predict_records
from yolox_ops.yolox import yolox_nano

LANDSCAPE = (48, 64, [(0, 4, 6, 24, 40), (2, 40, 0, 64, 20)])
PORTRAIT = (48, 20, [(1, 3, 10, 18, 46)])


def coco(*annotations, images=2):
    return {
        "images": [{"id": i, "height": 200, "width": 200} for i in range(images)],
        "annotations": list(annotations),
        "categories": [{"id": 5, "name": "five"}, {"id": 6, "name": "six"}],
    }


def result(image_id, category_id, bbox, score):
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": score}


A, B, FAR = [10, 10, 40, 40], [100, 100, 50, 80], [150, 10, 30, 30]


def test_perfect_detections():
    truth = coco(annotation(1, 0, 5, A), annotation(2, 0, 6, B), annotation(3, 1, 5, B))
    numbers = average_precision(truth, [result(0, 5, A, 0.3), result(0, 6, B, 0.2), result(1, 5, B, 0.9)])
    assert (numbers.ap, numbers.ap50, numbers.ap75, numbers.ap_medium, numbers.ar1) == pytest.approx([1] * 5)
    assert math.isnan(numbers.ap_small) and math.isnan(numbers.ar_large)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([result(0, 5, FAR, 0.9), result(0, 5, A, 0.8), result(1, 5, B, 0.7)], 2 / 3),  # precision 1/2, then 2/3
        ([result(0, 5, A, 0.9), result(0, 5, FAR, 0.8), result(1, 5, B, 0.7)], (51 + 50 * 2 / 3) / 101),
        ([result(0, 5, A, 0.9), result(0, 5, A, 0.8), result(1, 5, FAR, 0.7)], 51 / 101),  # recall ends at 1/2
        ([result(0, 6, A, 0.9), result(1, 5, B, 0.7)], 51 / 101),  # a class that no image has does not count
    ],
)
def test_false_positives_and_misses(records, expected):
    truth = coco(annotation(1, 0, 5, A), annotation(2, 1, 5, B))
    numbers = average_precision(truth, records)
    assert (numbers.ap, numbers.ap50, numbers.ap75) == pytest.approx([expected] * 3)


def test_a_loose_box_counts_at_low_iou():
    truth = coco(annotation(1, 0, 5, [0, 0, 100, 100]))
    numbers = average_precision(truth, [result(0, 5, [0, 0, 100, 62], 0.9)])  # IoU 0.62: at 0.5, 0.55 and 0.6
    assert (numbers.ap, numbers.ap50, numbers.ap75, numbers.ap_large) == pytest.approx((0.3, 1, 0, 0.3))


def test_a_wrong_detection_counts_at_its_own_size():
    truth = coco(annotation(1, 0, 5, [10, 10, 20, 20]))
    numbers = average_precision(truth, [result(0, 5, B, 0.9), result(0, 5, [10, 10, 20, 20], 0.8)])
    assert (numbers.ap, numbers.ap_small) == pytest.approx((1 / 2, 1))


@pytest.mark.parametrize(("iscrowd", "expected"), [(1, 1.0), (0, 51 / 101 / 2)])
def test_a_detection_in_a_crowd_is_not_wrong(iscrowd, expected):
    truth = coco(annotation(1, 0, 5, A), annotation(2, 0, 5, [100, 0, 90, 90], iscrowd))
    found = [result(0, 5, [150, 10, 30, 30], 0.9), result(0, 5, A, 0.8)]
    assert average_precision(truth, found).ap == pytest.approx(expected)


def test_no_detections_and_no_objects():
    truth = coco(annotation(1, 0, 5, A))
    nothing = average_precision(truth, [])
    assert (nothing.ap, nothing.ap_medium, nothing.ar100) == (0, 0, 0) and math.isnan(nothing.ap_small)
    for records in ([], [result(0, 5, A, 0.5)]):
        assert all(map(math.isnan, average_precision(coco(), records)))
    assert all(map(math.isnan, average_precision(coco(images=0), [])))


def test_precision_of_some_images_only(capsys):
    truth = coco(annotation(1, 0, 5, A), annotation(2, 1, 5, B))
    before = copy.deepcopy(truth)
    records = [result(0, 5, A, 0.5)]
    assert average_precision(truth, records, [0]).ap == pytest.approx(1)
    assert average_precision(truth, records).ap == pytest.approx(51 / 101)
    assert truth == before and records == [result(0, 5, A, 0.5)] and capsys.readouterr().out == ""
    for ids in ([1], None):
        with pytest.raises(ValueError, match="records must be of the images that are evaluated, got image_id"):
            average_precision(truth, [*records, result(7, 5, A, 0.5)], ids)


@pytest.mark.parametrize(
    ("size", "canvas", "ratio", "inside"),
    [
        ((48, 64), (96, 160), 2.0, (96, 128)),
        ((48, 64), (96, 64), 1.0, (48, 64)),
        ((100, 30), (64, 64), 0.64, (64, 19)),
        ((1, 900), (64, 64), 64 / 900, (1, 64)),
    ],
)
def test_letterbox(size, canvas, ratio, inside):
    image = np.full((*size, 3), 30, np.uint8)
    picture, got = letterbox(image, *canvas)
    assert got == ratio and picture.shape == (*canvas, 3) and picture.dtype == np.uint8
    covered = np.zeros(canvas, bool)
    covered[: inside[0], : inside[1]] = True
    assert (picture[covered] == 30).all() and (picture[~covered] == 114).all()


def test_letterbox_interpolates():
    image = np.array([0, 200], np.uint8).reshape(1, 2, 1).repeat(3, 2)
    assert letterbox(image, 2, 4)[0][:, :, 1].tolist() == [[0, 50, 150, 200]] * 2


@pytest.mark.parametrize(("height", "width", "tolerance"), [(96, 128, 1e-6), (48, 64, 1e-6), (128, 96, 1), (32, 64, 2)])
def test_boxes_come_back_from_the_canvas(height, width, tolerance):
    data = Painted(LANDSCAPE, PORTRAIT)
    records = predict_records(SeesColours(), data, range(2), height=height, width=width)["hard"]
    expected = [(a["image_id"], a["category_id"], a["bbox"]) for a in data.coco()["annotations"]]
    assert [(r["image_id"], r["category_id"]) for r in records] == [(i, c) for i, c, _ in expected]
    for record, (*_, bbox) in zip(records, expected, strict=True):
        assert record["bbox"] == pytest.approx(bbox, abs=tolerance) and record["score"] == pytest.approx(0.81)


@pytest.mark.parametrize(
    ("more", "bbox"),
    [
        ((60, 28, 20, 20), [50, 18, 14, 14]),  # over the right and the lower edge
        ((5, 5, 20, 30), [0, 0, 15, 20]),
        ((32, 48, 20, 20), None),  # in the margin
        ((32, 48, math.nan, 20), None),
    ],
)
def test_boxes_are_clipped_to_the_image(more, bbox):
    records = predict_records(SeesColours(more), Painted((32, 64, [])), [0], height=64, width=64)["hard"]
    expected = [] if bbox is None else [result(100, 7, bbox, 0.81)]
    assert records == [{**r, "score": pytest.approx(0.81)} for r in expected]


def test_evaluates_every_method_on_the_same_predictions():
    model, data = SeesColours((15, 24, 20, 34)), Painted(LANDSCAPE, PORTRAIT, (32, 32, []))
    seconds = {}
    methods = ("hard", "linear", "hard")
    numbers = evaluate(model, data, height=48, width=64, methods=methods, iou_threshold=0.5, batch=2, seconds=seconds)
    assert model.calls == 2 and list(numbers) == list(seconds) == ["hard", "linear"] and min(seconds.values()) > 0
    assert numbers["hard"].ap == pytest.approx(1) and numbers["hard"].ar100 == pytest.approx(1)


def test_evaluate_takes_the_images_of_the_indices():
    data = Painted(LANDSCAPE, (48, 64, [(0, 0, 0, 10, 10), (0, 30, 30, 48, 40)]))
    options = {"height": 48, "width": 64, "methods": ["gaussian"]}
    assert evaluate(SeesColours(), data, indices=[0], **options)["gaussian"].ap == pytest.approx(1)
    assert evaluate(SeesColours(), data, indices=[1], **options)["gaussian"].ap == 0
    assert 0 < evaluate(SeesColours(), data, **options)["gaussian"].ap < 1


@pytest.fixture(scope="module")
def nano():
    torch.manual_seed(3)
    return confident(yolox_nano(3))


def test_records_are_the_models_detections(nano):
    data = Painted(LANDSCAPE, (64, 96, [(1, 10, 10, 50, 60)]), PORTRAIT)
    records = predict_records(nano, data, [1], height=64, width=96, methods=["hard", "linear"], iou_threshold=0.4)
    images = torch.from_numpy(data[1].image).permute(2, 0, 1)[None].float()
    for method, found in records.items():
        ((boxes, scores, labels),) = nano(images, method=method, iou_threshold=0.4).unpadded()
        boxes = boxes.clamp(min=0).minimum(torch.tensor([96.0, 64, 96, 64]))
        boxes[:, 2:] -= boxes[:, :2]
        inside = (boxes[:, 2:] > 0).all(1)
        assert 10 < len(found) == inside.sum()
        assert [r["category_id"] for r in found] == [data.category_ids[label] for label in labels[inside]]
        torch.testing.assert_close(torch.tensor([r["bbox"] for r in found]), boxes[inside])
        torch.testing.assert_close(torch.tensor([r["score"] for r in found]), scores[inside])
    assert [r["score"] for r in records["hard"]] != [r["score"] for r in records["linear"]]


def test_batches_processes_and_workers_change_nothing():
    data = Painted(LANDSCAPE, PORTRAIT, (40, 40, [(0, 5, 5, 30, 30)]))
    model, options = SeesColours(), {"height": 64, "width": 64}
    state = torch.get_rng_state()
    whole = predict_records(model, data, range(3), batch=2, workers=1, **options)["hard"]
    assert torch.equal(torch.get_rng_state(), state)  # training goes on as if nothing had been
    parts = [predict_records(model, data, part, **options)["hard"] for part in ([0], [], [1, 2])]
    assert [record for part in parts for record in part] == whole and len(whole) == 4


def test_autocast_runs_the_model_in_half_precision(nano):
    options = {"height": 64, "width": 64}
    full, half = (predict_records(nano, Painted(LANDSCAPE), [0], amp=amp, **options)["hard"] for amp in (False, True))
    assert full != half and full[0]["score"] == pytest.approx(half[0]["score"], abs=0.1)


def test_models_that_do_not_fit():
    data = Painted(LANDSCAPE)
    with pytest.raises(ValueError, match="dataset must have the classes of the model, got 3 and 5"):
        evaluate(yolox_nano(5).eval(), data, height=64, width=64)
    with pytest.raises(ValueError, match="model must be in eval mode"):
        evaluate(yolox_nano(3), data, height=64, width=64)
    with pytest.raises(ValueError, match="multiples of 32"):
        evaluate(yolox_nano(3).eval(), data, height=64, width=100)
    with pytest.raises(ValueError, match="method must be one of"):
        evaluate(SeesColours(), data, height=64, width=64, methods=["harder"])
