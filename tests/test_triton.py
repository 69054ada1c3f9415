"""Triton's kernels give the bits of the C++ kernels, where neither calls a function of its platform."""

import importlib
import math

import pytest
import torch
from boxes import ODD_BOXES, random_boxes
from impls import INTERPRETED, ServedBy, triton_launcher
from selection import sample

from yolox_ops import aligned_iou, pairwise_iou, soft_nms

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are interpreted in a process of their own")
each_format = pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])
METHODS = ["hard", "linear", "gaussian", "mean_gaussian"]
BROKEN = torch.tensor([[math.nan, 0, 10, 10], [0, 0, 10, math.nan], [-math.inf, 0, math.inf, 9], [0, 0, math.inf, 9]])


def check_bits(function, *args, **rule):
    expected = function(*args, **rule)
    with ServedBy(triton_launcher):
        found = function(*args, **rule)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def rough_boxes(*shape, fmt):
    """Boxes off the lattice, where every operation rounds, and odd ones."""
    rough = random_boxes(*shape, fmt=fmt) + torch.rand(*shape, 4)
    return torch.cat([rough, ODD_BOXES, BROKEN])


@each_format
@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
def test_iou_has_the_bits_of_cpp(fmt, kind):
    boxes1, boxes2 = rough_boxes(90, fmt=fmt), rough_boxes(150, fmt=fmt)
    check_bits(pairwise_iou, boxes1, boxes2, fmt=fmt, kind=kind)
    check_bits(aligned_iou, boxes1[:, None], boxes2[::7], fmt=fmt, kind=kind)


@each_format
@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
@pytest.mark.parametrize("function", [pairwise_iou, aligned_iou])
def test_gradients_follow_those_of_cpp(function, fmt, kind):
    """Ties, boxes that do not overlap and empty ones included; sums may round otherwise."""
    boxes = torch.cat([random_boxes(30, fmt=fmt), ODD_BOXES]).double()
    first, second = boxes.requires_grad_(), boxes.flip(0).detach().requires_grad_()
    weight = torch.randn(len(boxes), len(boxes) if function is pairwise_iou else 1).squeeze(1)

    def gradients():
        return torch.autograd.grad((function(first, second, fmt=fmt, kind=kind) * weight).sum(), (first, second))

    expected = gradients()
    with ServedBy(triton_launcher):
        torch.testing.assert_close(gradients(), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("threshold", [1e-3, -3.0])
@pytest.mark.parametrize(("small", "large"), [(128, 1024), (16, 32)])
def test_soft_nms_has_the_bits_of_cpp(method, threshold, small, large, monkeypatch):
    """Labels of up to `small` boxes, of more, and of more than `large`, which take several steps."""
    launcher = importlib.import_module("yolox_ops.triton.soft_nms")
    monkeypatch.setattr(launcher, "SMALL", small)
    monkeypatch.setattr(launcher, "LARGE", large)
    boxes, scores, labels = sample(140, extent=100)
    labels = labels.clamp(max=3) * (torch.rand(140) < 0.8)
    boxes, scores = boxes + torch.rand(140, 4), scores if threshold > 0 else scores - 0.5
    for groups in (labels, None):
        check_bits(soft_nms, boxes, scores, groups, method=method, score_threshold=threshold, max_detections=100)
