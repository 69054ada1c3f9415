"""Kernels on smaller grids than they ask for, as launches of more than 65535 blocks would have: a block steps through
what is left, and must not begin on it before all its threads are done with what was before."""

import pytest
import torch
from boxes import random_boxes
from impls import by_cpp, marks_of
from scenes import random_scene
from torch.testing import assert_close

from tests.ptx.compiled_cuda import kernels, ptx_kernel

pytestmark = marks_of("nvcc-ptx")

SIMOTA = (2.5, "center", 1e5, 1.0, 3.0, 1e-8)
OTA = (2.5, 20, 1.5, 0.1, 3, 0.0, 0.25, 2.0)


@pytest.fixture(params=[1, 2], autouse=True)
def most_blocks(request, monkeypatch):
    monkeypatch.setattr(kernels(), "most_blocks", request.param)


def check(op: str, *args: object) -> None:
    assert_close(ptx_kernel(op)(*args), by_cpp(op, *args), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_similarities(dtype, kind):
    boxes = random_boxes(70).to(dtype)
    check("aligned_iou", boxes.repeat(9, 1), boxes.flip(0).repeat(9, 1), "xyxy", kind)
    for last in (70, 68):  # no multiple of what a thread stores at once, and one
        sets = boxes.expand(2, -1, -1), boxes[:last].flip(0).expand(2, -1, -1)
        check("pairwise_iou", *sets, "xyxy", kind)
        check("pairwise_iou_backward", torch.rand(2, 70, last, dtype=dtype), *sets, "xyxy", kind)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matches(dtype):
    """Three tiles of anchors, and as many images."""
    scene = random_scene([9, 0, 5], classes=3, size=192, pad=2)
    scene = scene._replace(pred_boxes=scene.pred_boxes.to(dtype))
    check("simota_cost", *scene, *SIMOTA)
    check("simota", *scene, *SIMOTA, 10, "down")
    cost, iou = by_cpp("simota_cost", *scene, *SIMOTA)
    check("dynamic_k_match", cost, iou, scene.num_gts, 10, "down")
    check("dynamic_k_match", cost, iou, scene.num_gts, 1, "nearest")  # many take nothing


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_transport(dtype):
    scene = random_scene([9, 0, 5], classes=3, size=64)
    check("ota", *scene._replace(pred_boxes=scene.pred_boxes.to(dtype)), *OTA)
    for columns in (70, 300):
        cost = torch.rand(3, 5, columns, dtype=dtype)
        check("sinkhorn", cost, torch.rand(3, 5), torch.rand(3, columns), 0.1, 3, 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ["gaussian", "mean_gaussian"])
def test_selections(dtype, method):
    """Labels that a warp has and labels that a block has, in spatial order; and in the order of scores below 0."""
    for n, threshold in ((300, -1.0), (1100, 0.01)):
        boxes, scores, labels = random_boxes(n).to(dtype), torch.rand(2, n, dtype=dtype), torch.arange(n) // 40
        labels[:60] = torch.arange(60) // 20
        args = boxes.expand(2, -1, -1), scores, labels.expand(2, -1), method, 0.5, 0.3, threshold, 20, "xyxy"
        check("soft_nms", *args)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_that_run_out_of_boxes(dtype):
    """Hard NMS in the order of scores below 0 has nothing left before as many rounds as there are boxes, and its block
    goes on to the next image."""
    boxes, scores = random_boxes(100).to(dtype).expand(2, -1, -1), torch.rand(2, 100, dtype=dtype) - 0.5
    _, _, counts = by_cpp("soft_nms", boxes, scores, None, "hard", 0.5, 0.3, -1.0, -1, "xyxy")
    assert (counts < 100).all()
    check("soft_nms", boxes, scores, None, "hard", 0.5, 0.3, -1.0, -1, "xyxy")
