"""The calls of docs/migrating.md on arrays against OpenCV, ensemble_boxes, pycocotools and supervision's rule."""

import math

import cv2
import ensemble_boxes
import numpy as np
import pytest
from migrating import as_xywh, detections, greedy, overlap
from pycocotools import mask

from yolox_ops.numpy import pairwise_iou, soft_nms

pytestmark = pytest.mark.plain


@pytest.mark.parametrize("t", [0.3, 0.5, 0.45])
@pytest.mark.parametrize("top_k", [0, 1, 25])
def test_opencv_nms_boxes(t, top_k):
    boxes, scores, labels = (x.numpy() for x in detections())
    floor, boxes = float(scores[40]), as_xywh(boxes)
    above_floor = np.nextafter(np.float32(floor), np.float32(math.inf))
    rule = {"method": "hard", "iou_threshold": t, "score_threshold": above_floor, "fmt": "xywh"}
    rule["max_candidates"] = top_k or None
    wanted = cv2.dnn.NMSBoxes(boxes, scores, floor, t, top_k=top_k)
    assert soft_nms(boxes, scores, **rule)[0].tolist() == wanted.ravel().tolist()
    whole = boxes.astype(np.int32)
    wanted = cv2.dnn.NMSBoxes(whole.tolist(), scores.tolist(), floor, t, top_k=top_k)
    assert soft_nms(whole.tolist(), scores, **rule)[0].tolist() == wanted.ravel().tolist()
    wanted = cv2.dnn.NMSBoxesBatched(boxes, scores, labels, floor, t, top_k=top_k)
    assert soft_nms(boxes, scores, labels, **rule)[0].tolist() == wanted.ravel().tolist()


@pytest.mark.parametrize(("method", "code"), [("linear", 1), ("gaussian", 2)])
@pytest.mark.parametrize("top_k", [0, 7])
def test_opencv_soft_nms_boxes(method, code, top_k):
    boxes, scores, _ = (x.numpy() for x in detections())
    whole = as_xywh(boxes).astype(np.int32)
    new, order = cv2.dnn.softNMSBoxes(whole, scores, 0.05, 0.3, top_k, 0.5, code)
    rule = {"method": method, "sigma": 0.5, "iou_threshold": 0.3, "score_threshold": 0.05, "fmt": "xywh"}
    indices, mine = soft_nms(whole, scores, max_detections=top_k or None, **rule)
    assert indices.tolist() == order.ravel().tolist()
    np.testing.assert_allclose(mine, new.ravel(), rtol=1e-5)


@pytest.mark.parametrize(("method", "code"), [("linear", 1), ("gaussian", 2), ("hard", 3)])
def test_ensemble_boxes(method, code):
    boxes, scores, labels = detections()
    lists = [(boxes / 20).double().tolist()], [scores.double().tolist()], [labels.tolist()]
    kept, _, kinds = ensemble_boxes.nms_method(*lists, method=code, iou_thr=0.5, sigma=0.4, thresh=0.02)
    floor = None if method == "hard" else 0.02
    rule = {"method": method, "iou_threshold": 0.5, "sigma": 0.4, "score_threshold": floor}
    indices, _ = soft_nms(lists[0][0], lists[1][0], lists[2][0], **rule)
    mine = sorted([labels[i].item(), *lists[0][0][i]] for i in indices)
    assert mine == sorted([kind, *box] for kind, box in zip(kinds, kept.tolist(), strict=True))


@pytest.mark.parametrize(("method", "code"), [("linear", 1), ("gaussian", 2), ("hard", 3)])
def test_the_example_of_ensemble_boxes(method, code):
    """The nine boxes of two models in its README."""
    boxes = [
        [[0, 0.51, 0.81, 0.91], [0.1, 0.31, 0.71, 0.61], [0.01, 0.32, 0.83, 0.93], [0.02, 0.53, 0.11, 0.94]],
        [[0.04, 0.56, 0.84, 0.92], [0.12, 0.33, 0.72, 0.64], [0.38, 0.66, 0.79, 0.95], [0.08, 0.49, 0.21, 0.89]],
    ]
    boxes[0].append([0.03, 0.24, 0.12, 0.35])
    scores, labels = [[0.9, 0.8, 0.2, 0.4, 0.7], [0.5, 0.8, 0.7, 0.3]], [[0, 1, 0, 1, 1], [1, 1, 1, 0]]
    kept, _, kinds = ensemble_boxes.nms_method(boxes, scores, labels, method=code, iou_thr=0.5, sigma=0.1, thresh=1e-4)
    rule = {"method": method, "iou_threshold": 0.5, "sigma": 0.1, "score_threshold": 1e-4}
    rows = [row for model in zip(boxes, scores, labels, strict=True) for row in zip(*model, strict=True)]
    if method == "hard":  # which takes the later of equal scores there
        rows.reverse()
    indices, _ = soft_nms([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], **rule)
    mine = sorted([rows[i][2], *rows[i][0]] for i in indices)
    assert mine == sorted([kind, *box] for kind, box in zip(kinds, kept.tolist(), strict=True))


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_supervision_with_nms(class_agnostic):
    """detections.with_nms(t, class_agnostic) keeps the order of the detections."""
    xyxy, confidence, class_id = (x.numpy() for x in detections())
    labels = None if class_agnostic else class_id
    wanted = greedy(xyxy, confidence, lambda a, b: overlap(a, b) > np.float32(0.5), labels)
    rule = {"method": "hard", "iou_threshold": 0.5, "score_threshold": None}
    assert np.sort(soft_nms(xyxy, confidence, labels, **rule)[0]).tolist() == sorted(wanted)


def test_pycocotools_iou():
    boxes, _, _ = detections()
    found, truth = as_xywh(boxes.double().numpy()[:80]), as_xywh(boxes.double().numpy()[80:])
    wanted = mask.iou(found, truth, [0] * len(truth))
    np.testing.assert_allclose(pairwise_iou(found, truth, fmt="xywh"), wanted, rtol=1e-12)
