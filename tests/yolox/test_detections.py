"""model(images) and model(images, targets): detections and losses."""

import pytest
import torch
from models import check_near, trained
from torch import Tensor

from yolox_ops import yolox_loss
from yolox_ops.yolox import Detections, Predictions, Targets, detect, yolox_nano

SIZE = 128


@pytest.fixture(scope="module")
def model():
    """With scores from 0 to 1, and boxes that overlap."""
    torch.manual_seed(1)
    model = trained(yolox_nano(3))
    for conv in (*model.head.cls_preds, *model.head.obj_preds):
        torch.nn.init.normal_(conv.weight, std=1.0)
        torch.nn.init.zeros_(conv.bias)
    for conv in model.head.reg_preds:
        torch.nn.init.ones_(conv.bias)
    return model


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, SIZE, SIZE)


def targets() -> Targets:
    boxes = [torch.tensor([[8.0, 8, 40, 56], [60, 20, 100, 90]]), torch.empty(0, 4)]
    return Targets.pad(boxes, [torch.tensor([2, 0]), torch.empty(0, dtype=torch.int64)])


def by_loops(
    p: Predictions, b: int, score_threshold: float, iou_threshold: float, class_agnostic: bool = False
) -> list[tuple]:
    """Hard NMS of one image as (score, label, xyxy), best first: the textbook's loop."""
    found = []
    for n in range(p.obj_logits.shape[1]):
        probability = p.cls_logits[b, n].sigmoid()
        label = int(probability.argmax())
        score = float(probability[label] * p.obj_logits[b, n].sigmoid())
        x, y, w, h = p.pred_boxes[b, n].tolist()
        if score >= score_threshold:
            found.append((score, label, (x - w / 2, y - h / 2, x + w / 2, y + h / 2)))
    found.sort(key=lambda one: -one[0])
    kept: list[tuple] = []
    for one in found:
        apart = [not class_agnostic and one[1] != other[1] for other in kept]
        if all(far or iou(one[2], other[2]) <= iou_threshold for far, other in zip(apart, kept, strict=True)):
            kept.append(one)
    return kept


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_detections_are_hard_nms_by_class(model, class_agnostic):
    x = images()
    with torch.no_grad():
        p = model.raw(x)
        found = model(x, score_threshold=0.3, max_detections=None, class_agnostic=class_agnostic)
    assert isinstance(found, Detections) and found.boxes.shape == (2, p.obj_logits.shape[1], 4)
    for b, (boxes, scores, labels) in enumerate(found.unpadded()):
        expected = by_loops(p, b, 0.3, 0.65, class_agnostic)
        assert 5 < len(expected) < (p.obj_logits[b].sigmoid() > 0.3).sum() and len(boxes) == len(expected)
        torch.testing.assert_close(scores, torch.tensor([one[0] for one in expected]))
        assert labels.tolist() == [one[1] for one in expected]
        torch.testing.assert_close(boxes, torch.tensor([one[2] for one in expected]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("method", ["hard", "linear"])
def test_boxes_of_two_classes_thin_each_other_only_if_asked(method):
    """Two boxes of one place and of different classes, and one apart."""
    boxes = torch.tensor([[[10.0, 10, 8, 8], [10, 10, 8, 8], [40, 40, 8, 8]]])
    logits = torch.tensor([[[4.0, -4], [-4, 3], [2, -4]]])
    p = Predictions(boxes, logits, torch.full((1, 3), 9.0), boxes, boxes[0, :, :2], torch.ones(3))
    by_class, agnostic = detect(p, method=method), detect(p, method=method, class_agnostic=True)
    assert by_class.counts.item() == 3 and by_class.labels[0].tolist() == [0, 1, 0]
    assert agnostic.counts.item() == 2 and agnostic.labels[0].tolist() == [0, 0, 0]
    assert agnostic.boxes[0, 1].tolist() == [36, 36, 44, 44]


def test_no_score_threshold(model):
    """Every anchor that no other removes is a detection."""
    with torch.no_grad():
        p = model.raw(images())
    found = detect(p, score_threshold=None, max_detections=None)
    for b, (_, scores, _) in enumerate(found.unpadded()):
        assert len(scores) == len(by_loops(p, b, 0.0, 0.65)) and scores.min() < 0.01
    with pytest.raises(TypeError, match="class_agnostic must be True or False, got 'yes'"):
        detect(p, class_agnostic="yes")


def test_detections_are_limited_and_padded_with_zeros(model):
    x = images()
    limited, all_of_them = model(x, score_threshold=0.3, max_detections=4), model(x, score_threshold=0.3)
    assert limited.counts.tolist() == [4, 4] and limited.boxes.shape == (2, 4, 4)
    torch.testing.assert_close(limited.boxes, all_of_them.boxes[:, :4])
    nothing = model(x, score_threshold=2.0)
    assert nothing.counts.tolist() == [0, 0] and not any(t.any() for t in nothing)
    assert [len(boxes) for boxes, _, _ in nothing.unpadded()] == [0, 0]


def test_detections_have_no_gradient_and_compile(model):
    x = images()
    found = model(x)
    assert not any(t.requires_grad for t in found)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    check_near(compiled(x), found)


@pytest.mark.parametrize("method", ["linear", "gaussian", "mean_gaussian"])
def test_other_methods_lower_scores(model, method):
    p = model.raw(images())
    hard = detect(p, iou_threshold=0.3, max_detections=None)
    soft = detect(p, iou_threshold=0.3, method=method, max_detections=None)
    assert soft.counts.sum() > hard.counts.sum()
    torch.testing.assert_close(soft.scores[:, 0], hard.scores[:, 0])


def test_half_precision_predictions(model):
    x = images()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = model(x, score_threshold=0.3)
    assert found.boxes.dtype == found.scores.dtype == torch.float32 and (found.counts > 5).all()


@pytest.mark.parametrize("l1", [False, True])
def test_losses_are_yolox_loss(model, l1):
    x, wanted = images(), targets()
    p = model.raw(x)
    expected = yolox_loss(
        p.pred_boxes,
        p.cls_logits,
        p.obj_logits,
        p.anchor_points,
        p.strides,
        *wanted,
        raw_boxes=p.raw_boxes if l1 else None,
        objectness="iou",
    )
    got = model(x, wanted, l1=l1, objectness="iou")
    torch.testing.assert_close(tuple(got), tuple(expected))
    assert (got.l1 > 0) == l1


def test_a_training_step_is_one_graph(model):
    """Forward, assignment, loss and backward, without a break."""
    x, wanted = images(), targets()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    got, expected = compiled(x, wanted, l1=True), model(x, wanted, l1=True)
    check_near(got, expected)
    weight = model.head.stems[0].conv.weight
    check_near(*(torch.autograd.grad(loss.total, weight) for loss in (got, expected)))


def test_targets_are_centre_and_size():
    wanted = targets()
    assert wanted.gt_boxes.tolist() == [[[24, 32, 32, 48], [80, 55, 40, 70]], [[0, 0, 0, 0], [0, 0, 0, 0]]]
    assert wanted.gt_labels.tolist() == [[2, 0], [0, 0]] and wanted.num_gts.tolist() == [2, 0]
    assert all(t.device.type == "meta" for t in wanted.to("meta"))


@pytest.mark.parametrize(
    ("boxes", "labels"), [([], []), ([torch.zeros(2, 4)], [torch.zeros(1)]), ([], [torch.zeros(0)])]
)
def test_targets_of_unequal_length(boxes, labels):
    with pytest.raises(ValueError, match="one or more images must have a label a box"):
        Targets.pad(boxes, labels)


def test_no_objects_in_the_batch(model):
    none = [torch.empty(0, 4)] * 2, [torch.empty(0, dtype=torch.int64)] * 2
    loss = model(images(), Targets.pad(*none))
    assert loss.box == 0 and loss.total == loss.obj > 0
