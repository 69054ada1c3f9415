"""The calls of docs/migrating.md on tensors against what they stand for. Codes that import here are called, the rule of
the others is written out. OpenCV and other codes of arrays: tests/numpy/test_migrating_arrays.py."""

import math

import numpy as np
import pytest
import torch
from boxes import random_boxes
from migrating import detections, greedy, overlap

from yolox_ops import aligned_iou, batched_soft_nms, iou_loss, pairwise_iou, sinkhorn, soft_nms

pytestmark = pytest.mark.plain
# torchvision


@pytest.mark.parametrize("t", [0.3, 0.45, 0.5, 0.6, 0.65, 0.7])
def test_torchvision_nms(t):
    boxes, scores, labels = detections()
    on_gpu = greedy(boxes, scores, lambda a, b: overlap(a, b) > np.float32(t))
    assert soft_nms(boxes, scores, method="hard", iou_threshold=t, score_threshold=None)[0].tolist() == on_gpu
    on_cpu = greedy(boxes, scores, lambda a, b: float(overlap(a, b)) > t)
    inclusive = float(np.float32(t)) > t
    indices, _ = soft_nms(boxes, scores, method="hard", iou_threshold=t, inclusive=inclusive, score_threshold=None)
    assert indices.tolist() == on_cpu
    by_label = greedy(boxes, scores, lambda a, b: overlap(a, b) > np.float32(t), labels.tolist())
    assert soft_nms(boxes, scores, labels, method="hard", iou_threshold=t, score_threshold=None)[0].tolist() == by_label


def test_torchvisions_thresholds_differ_by_device():
    """float32 rounds 0.3 up, so that an IoU of 3 / 10 is above it in double."""
    boxes, scores = torch.tensor([[0.0, 0, 10, 1], [0, 0, 3, 1]]), torch.tensor([0.9, 0.8])
    rule = {"method": "hard", "iou_threshold": 0.3, "score_threshold": None}
    assert soft_nms(boxes, scores, **rule)[0].tolist() == [0, 1]
    assert soft_nms(boxes, scores, **rule, inclusive=float(np.float32(0.3)) > 0.3)[0].tolist() == [0]


def test_torchvision_logits():
    boxes, scores, _ = detections()
    logits = scores.logit()
    wanted = greedy(boxes, logits, lambda a, b: overlap(a, b) > np.float32(0.5))
    rule = {"method": "hard", "iou_threshold": 0.5}
    assert soft_nms(boxes, logits, **rule, score_threshold=None)[0].tolist() == wanted
    assert len(soft_nms(boxes, logits, **rule)[0]) < len(wanted)


def test_torchvision_losses():
    """generalized_box_iou_loss by its formula: 1 - IoU + (hull - union) / hull."""
    a, b = random_boxes(50), random_boxes(50, seed=1)
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    hull = (high[:, 2:] - low[:, :2]).prod(1)
    both = (low[:, 2:] - high[:, :2]).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both
    wanted = 1 - both / union + (hull - union) / hull
    torch.testing.assert_close(iou_loss(a, b, kind="giou", reduction="mean"), wanted.mean())


# mmcv and mmdet


def mmcv_soft_nms(boxes, scores, method, iou_threshold, sigma, min_score, offset=0.0):
    """mmcv's CPU loop: the best box comes next, all after it are lowered, those that fell below min_score go. The first
    is never looked at."""
    left = {i: np.float32(s) for i, s in enumerate(scores.tolist())}
    selected = []
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        selected.append((best, left.pop(best)))
        for i in list(left):
            iou = overlap(boxes[best], boxes[i], offset)
            weight = np.float32(1)
            if method == "gaussian":
                weight = np.exp(-(iou * iou) / np.float32(sigma))
            elif iou >= np.float32(iou_threshold):
                weight = np.float32(0) if method == "naive" else 1 - iou
            left[i] *= weight
            if left[i] < np.float32(min_score):
                del left[i]
    return selected


@pytest.mark.parametrize(("theirs", "ours"), [("naive", "hard"), ("linear", "linear"), ("gaussian", "gaussian")])
@pytest.mark.parametrize("offset", [0, 1])
def test_mmcv_soft_nms(theirs, ours, offset):
    boxes, scores, _ = detections()
    wanted = mmcv_soft_nms(boxes, scores, theirs, 0.5, 0.5, 1e-3, offset)
    shifted = boxes + torch.tensor([0, 0, offset, offset])
    indices, decayed = soft_nms(shifted, scores, method=ours, iou_threshold=0.5, sigma=0.5, inclusive=True)
    assert indices.tolist() == [i for i, _ in wanted]
    torch.testing.assert_close(decayed, torch.tensor([s for _, s in wanted]), rtol=1e-5, atol=1e-6)
    plain, _ = soft_nms(shifted, scores, method=ours, iou_threshold=0.5, sigma=0.5)
    assert (plain.tolist() == indices.tolist()) == (ours == "gaussian")


@pytest.mark.parametrize("offset", [0, 1])
def test_mmcv_nms(offset):
    """nms(boxes, scores, t, offset, score_threshold, max_num): what is above the score threshold, above t goes."""
    boxes, scores, _ = detections()
    floor, t = float(scores[40]), 0.5
    above = [s if s > floor else -1.0 for s in scores.tolist()]
    wanted = greedy(boxes, above, lambda a, b: overlap(a, b, offset) > np.float32(t))
    wanted = [i for i in wanted if above[i] > 0]
    rule = {"method": "hard", "iou_threshold": t, "max_detections": 30}
    above_floor = float(np.nextafter(np.float32(floor), np.float32(math.inf)))
    shifted = boxes + torch.tensor([0, 0, offset, offset])
    assert soft_nms(shifted, scores, **rule, score_threshold=above_floor)[0].tolist() == wanted[:30]


def test_mmdet_ciou():
    """Its alpha is 0 where the IoU is at most 0.5, which leaves DIoU."""
    from benchmarks.peers.mmdet import old_spellings

    with old_spellings():
        from mmdet.models.losses.iou_loss import CIoULoss
        from mmdet.structures.bbox import bbox_overlaps
    a = random_boxes(300, extent=60)
    b = a + torch.randn(300, 4) * 2
    b[:, 2:] = torch.maximum(b[:, 2:], b[:, :2] + 1)
    iou, diou, ciou = (aligned_iou(a, b, kind=kind) for kind in ("iou", "diou", "ciou"))
    assert 20 < (iou > 0.5).sum() < 280
    wanted = CIoULoss(reduction="none")(a, b)
    torch.testing.assert_close(1 - torch.where(iou > 0.5, ciou, diou), wanted, rtol=1e-4, atol=1e-4)
    assert (wanted - (1 - ciou)).abs().max() > 1e-3
    torch.testing.assert_close(pairwise_iou(a, b), bbox_overlaps(a, b), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(pairwise_iou(a, b, kind="giou"), bbox_overlaps(a, b, mode="giou"), rtol=1e-4, atol=1e-4)


# ONNX and TensorFlow


def flip(boxes):
    """The same boxes by their other corners."""
    flipped = boxes.clone()
    flipped[::2] = flipped[::2, [2, 3, 0, 1]]
    flipped[::3] = flipped[::3, [2, 1, 0, 3]]
    return flipped


@pytest.mark.parametrize("center_point_box", [0, 1])
def test_onnx_non_max_suppression(center_point_box):
    import onnx  # here, as a GPU machine may lack the peers
    import onnxruntime

    B, C, N, most, t = 2, 3, 40, 9, 0.5
    boxes, scores, _ = detections(B * N)
    boxes = flip(boxes) if center_point_box == 0 else torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    boxes = boxes.reshape(B, N, 4)
    scores = torch.rand(B, C, N, generator=torch.Generator().manual_seed(0))
    floor = float(scores[0, 0].median())
    names = ["boxes", "scores", "most", "t", "floor"]
    node = onnx.helper.make_node("NonMaxSuppression", names, ["selected"], center_point_box=center_point_box)
    given = [boxes.numpy(), scores.numpy(), np.array([most]), np.float32([t]), np.float32([floor])]
    kinds = [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, *[onnx.TensorProto.FLOAT] * 2]
    inputs = [
        onnx.helper.make_tensor_value_info(name, kind, value.shape)
        for name, kind, value in zip(names, kinds, given, strict=True)
    ]
    outputs = [onnx.helper.make_tensor_value_info("selected", onnx.TensorProto.INT64, [None, 3])]
    graph = onnx.helper.make_graph([node], "nms", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, dict(zip(names, given, strict=True)))

    above_floor = float(np.nextafter(np.float32(floor), np.float32(math.inf)))
    options = {"fmt": "cxcywh"} if center_point_box else {"any_corners": True}
    indices, _, counts = batched_soft_nms(
        boxes.repeat_interleave(C, 0),
        scores.flatten(0, 1),
        method="hard",
        iou_threshold=t,
        score_threshold=above_floor,
        max_detections=most,
        **options,
    )
    mine = [(k // C, k % C, i) for k in range(B * C) for i in indices[k, : counts[k]].tolist()]
    assert mine == list(map(tuple, wanted.tolist())) and len(mine) > 10


def test_tensorflow_non_max_suppression():
    """A score above score_threshold is selected, an IoU above iou_threshold removes; corners in any order."""
    boxes, scores, _ = detections()
    wanted = greedy(boxes, scores, lambda a, b: overlap(a, b) > np.float32(0.5))[:20]
    rule = {"method": "hard", "iou_threshold": 0.5, "score_threshold": None, "max_detections": 20}
    assert soft_nms(flip(boxes), scores, **rule, any_corners=True)[0].tolist() == wanted
    assert soft_nms(flip(boxes), scores, **rule)[0].tolist() != wanted


def test_tensorflow_soft_nms():
    """soft_nms_sigma s with iou_threshold 1: weights exp(-IoU^2 / (2 s)), the next box the one of the best score."""
    boxes, scores, _ = detections(60)
    left, wanted = dict(enumerate(scores.double().tolist())), []
    while left:
        best = max(left, key=lambda i: left[i])
        wanted.append((best, left.pop(best)))
        for i in list(left):
            left[i] *= float(np.exp(-0.5 / 0.4 * overlap(boxes[best], boxes[i], dtype=np.float64) ** 2))
            if not left[i] > 0.1:
                del left[i]
    rule = {"method": "gaussian", "sigma": 2 * 0.4, "score_threshold": 0.1}
    indices, decayed = soft_nms(flip(boxes).double(), scores.double(), any_corners=True, **rule)
    assert indices.tolist() == [i for i, _ in wanted]
    torch.testing.assert_close(decayed, torch.tensor([s for _, s in wanted]).double())


# POT


@pytest.mark.parametrize("reg", [0.05, 0.5, 5.0])
def test_pot_sinkhorn(reg):
    import ot

    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(7, 40, generator=generator).double()
    supply, demand = (
        torch.rand(7, generator=generator).double() + 0.1,
        torch.rand(40, generator=generator).double() + 0.1,
    )
    supply, demand = supply / supply.sum(), demand / demand.sum()
    wanted = ot.sinkhorn(supply.numpy(), demand.numpy(), cost.numpy(), reg, numItermax=50, stopThr=0, warn=False)
    plan = sinkhorn(cost[None], supply[None], demand[None], epsilon=reg, iterations=50)[0]
    torch.testing.assert_close(plan, torch.from_numpy(wanted), rtol=1e-5, atol=2e-8)


def test_what_pots_own_tests_ask():
    """Of 100 points of a plane, uniform masses and reg = 1: sums within 1e-5 of the masses."""
    n = 100
    points = torch.randn(n, 2, generator=torch.Generator().manual_seed(0)).double()
    cost, mass = torch.cdist(points, points) ** 2, torch.full((n,), 1 / n).double()
    plan = sinkhorn(cost[None], mass[None], mass[None], epsilon=1.0, iterations=1000)[0]
    torch.testing.assert_close(plan.sum(0), mass, rtol=0, atol=1e-5)
    torch.testing.assert_close(plan.sum(1), mass, rtol=0, atol=1e-5)
    torch.testing.assert_close(plan, plan.T, rtol=0, atol=1e-7)
