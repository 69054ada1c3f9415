"""What only a GPU can show: no synchronisation, CUDA graphs, streams, devices, and a context that outlives bad input.
`make gpu` runs these; the answers themselves are the matter of the ops' own tests and of test_on_devices.py."""

import math

import pytest
import torch
from boxes import random_boxes
from impls import check_compiles, cpp_kernel, triton_launcher
from scenes import random_scene
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves, tree_map_only

import yolox_ops
from benchmarks.scenes import scene as training_scene

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

RULE = (1.5, "center", 1e6, 1.0, 3.0, 1e-8)
OTA = (2.5, 20, 1.5, 0.1, 30, 0.01, 0.25, 2.0)


each_server = pytest.mark.parametrize("find", [cpp_kernel, triton_launcher], ids=["cuda", "triton"])


def calls(seed: int) -> list[tuple]:
    """(op, arguments) of every op, on the GPU; the shapes do not depend on the seed."""
    torch.manual_seed(seed)
    scene = random_scene([3, 0, 17, 9], classes=20, size=160, seed=seed)
    cost, iou = yolox_ops.simota_cost(*scene)
    boxes, others = random_boxes(2, 300, seed=seed), random_boxes(2, 200, seed=seed + 1)
    scores, labels = torch.rand(2, 300), torch.randint(9, (2, 300))
    found = [
        ("simota_cost", (*scene, *RULE)),
        ("simota", (*scene, *RULE, 10, "down")),
        ("dynamic_k_match", (cost, iou, scene.num_gts, 10, "down")),
        ("ota", (*scene, *OTA)),
        ("sinkhorn", (cost.float(), torch.rand(4, cost.shape[1]) * 9, torch.rand(4, cost.shape[2]), 0.1, 30, 0.01)),
        ("pairwise_iou", (boxes, others, "xyxy", "ciou")),
        ("pairwise_iou_backward", (torch.rand(2, 300, 200), boxes, others, "xyxy", "giou")),
        ("aligned_iou", (boxes[0], boxes[1], "cxcywh", "diou")),
        ("aligned_iou_backward", (torch.rand(300), boxes[0], boxes[1], "xywh", "ciou")),
    ]
    for method in ("hard", "linear", "gaussian", "mean_gaussian"):
        found.append(("soft_nms", (boxes, scores, labels, method, 0.5, 0.3, 1e-3, 100, "xyxy")))
        found.append(("soft_nms", (boxes, scores - 0.5, None, method, 0.5, 0.3, -1.0, -1, "xyxy")))
    return tree_map_only(torch.Tensor, lambda t: t.cuda(), found)


NUMBER = range(len(calls(0)) if torch.cuda.is_available() else 0)
each_call = pytest.mark.parametrize("number", NUMBER)


@each_server
@each_call
def test_nothing_synchronises(find, number):
    op, args = calls(0)[number]
    find(op)(*args)  # loads or compiles kernels, which may synchronise
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        find(op)(*args)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@each_server
@each_call
def test_graph_replays_on_fresh_inputs(find, number):
    op, args = calls(0)[number]
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        find(op)(*args)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = find(op)(*args)
    for seed in (1, 2):
        _, fresh = calls(seed)[number]
        for static, new in zip(tree_leaves(args), tree_leaves(fresh), strict=True):
            if isinstance(static, torch.Tensor):
                static.copy_(new)
        graph.replay()
        assert_close(outputs, find(op)(*fresh), rtol=0, atol=0, equal_nan=True)


@each_server
def test_streams_do_not_disturb_each_other(find):
    expected = [[find(op)(*args) for op, args in calls(seed)] for seed in range(4)]
    batches = [calls(seed) for seed in range(4)]
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in batches]
    for _ in range(5):
        found = []
        for stream, batch in zip(streams, batches, strict=True):
            with torch.cuda.stream(stream):
                found.append([find(op)(*args) for op, args in batch])
        torch.cuda.synchronize()
        assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@each_server
@each_call
def test_repeats_bit_for_bit(find, number):
    op, args = calls(3)[number]
    first = find(op)(*args)
    for _ in range(20):
        assert_close(find(op)(*args), first, rtol=0, atol=0, equal_nan=True)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU here")
@each_server
def test_tensors_choose_the_device(find):
    for op, args in calls(0):
        elsewhere = tree_map_only(torch.Tensor, lambda t: t.to("cuda:1"), args)
        found = find(op)(*elsewhere)
        assert all(t.device.index == 1 for t in tree_leaves(found))
        here = tree_map_only(torch.Tensor, lambda t: t.to("cuda:0"), found)
        assert_close(here, find(op)(*args), rtol=0, atol=0, equal_nan=True)
    assert torch.cuda.current_device() == 0


def test_compiles_as_one_graph():
    scene = tree_map_only(torch.Tensor, lambda t: t.cuda(), random_scene([3, 5]))
    boxes = random_boxes(2, 50).cuda()
    check_compiles(yolox_ops.simota, *scene)
    check_compiles(yolox_ops.simota_cost, *scene)
    pred_boxes, cls_logits, obj_logits, *rest = scene
    check_compiles(yolox_ops.ota, pred_boxes, cls_logits, *rest, obj_logits=obj_logits)
    check_compiles(yolox_ops.sinkhorn, *(torch.rand(2, *shape, device="cuda") for shape in [(5, 60), (5,), (60,)]))
    check_compiles(yolox_ops.pairwise_iou, boxes, boxes)
    check_compiles(yolox_ops.aligned_iou, boxes, boxes, kind="ciou")
    check_compiles(yolox_ops.batched_soft_nms, boxes, torch.rand(2, 50, device="cuda"))


@each_server
def test_bad_input_leaves_the_context_alive(find):
    scene = random_scene([4, 0, 2000, 6], size=160)
    scene.pred_boxes[0, ::2] = math.nan
    scene.cls_logits[3] = math.inf
    scene.gt_labels[0, 1], scene.gt_labels[0, 2] = -7, 10**12
    scene.gt_boxes[3, 2] = math.nan
    scene.num_gts[3] = 10**9
    on_gpu = tree_map_only(torch.Tensor, lambda t: t.cuda(), scene)
    for op, rule in [("simota", (*RULE, 10, "down")), ("ota", OTA)]:
        matched_gt, matched_iou, num_fg = find(op)(*on_gpu, *rule)
        torch.cuda.synchronize()
        assert num_fg.tolist() == (matched_gt >= 0).sum(1).tolist() and num_fg[1] == 0
        assert not torch.isin(matched_gt[0], torch.tensor([1, 2], device="cuda")).any()
        assert not (matched_gt[3] == 2).any() and matched_iou.isfinite().all()
    nothing = torch.full((1, 9, 4), math.nan).cuda()
    _, _, counts = find("soft_nms")(nothing, nothing[..., 0], None, "gaussian", 0.5, 0.3, 1e-3, -1, "xyxy")
    torch.cuda.synchronize()
    assert counts.item() == 0


@pytest.mark.parametrize("op", ["simota", "ota"])
def test_an_assignment_needs_less_than_16_mb(op):
    args = [t.cuda() for t in training_scene([50] * 16)]
    args += (*RULE, 10, "down") if op == "simota" else OTA
    run = cpp_kernel(op)
    run(*args)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = run(*args)
    outputs = sum(t.numel() * t.element_size() for t in result)
    assert torch.cuda.max_memory_allocated() - before - outputs < 16 << 20
