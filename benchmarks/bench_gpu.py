"""Ops on a GPU, CUDA C++ and Triton: 100 replays of a captured graph a round, so that neither Python nor launch gaps
count; `us_per_call` in the JSON is the figure. Peers run eagerly, as they must. Answers are verified first."""

import random

import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map_only

import yolox_ops
from benchmarks.scenes import scene
from tests.impls import cpp_kernel, triton_launcher

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
each_server = pytest.mark.parametrize("find", [cpp_kernel, triton_launcher], ids=["cuda", "triton"])
REPLAYS = 100
RULE = (1.5, "center", 1e6, 1.0, 3.0, 1e-8)
DRAW = random.Random(0)
COUNTS = {"B=16": [DRAW.randint(1, 50) for _ in range(16)], "B=64": [DRAW.randint(1, 50) for _ in range(64)]}


def to_gpu(args):
    return tree_map_only(torch.Tensor, lambda t: t.cuda(), args)


def random_boxes(*shape: int, extent: float = 600.0) -> torch.Tensor:
    corner = torch.rand(*shape, 2, generator=torch.Generator().manual_seed(0)) * extent
    return torch.cat([corner, corner + 1 + torch.rand(*shape, 2) * 59], -1)


def time_replays(benchmark, kernel, *args, work: int = 0) -> None:
    """`work`: bytes that a call must move, for GB/s beside the time."""
    kernel(*args)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernel(*args)

    def replay() -> None:
        for _ in range(REPLAYS):
            graph.replay()
        torch.cuda.synchronize()

    benchmark.pedantic(replay, rounds=20, warmup_rounds=3)
    seconds = benchmark.stats.stats.median / REPLAYS
    benchmark.extra_info.update(gpu=torch.cuda.get_device_name(), us_per_call=round(seconds * 1e6, 2))
    if work:
        benchmark.extra_info["gb_per_s"] = round(work / seconds / 1e9)


def verify(find, op: str, *args) -> None:
    """Equal to the C++ kernel on the CPU, but for one index in 1000, where two scores that round otherwise are next to
    each other."""
    expected = cpp_kernel(op)(*args)
    found = tree_map_only(torch.Tensor, lambda t: t.cpu(), find(op)(*to_gpu(args)))
    for ours, theirs in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        if theirs.is_floating_point():
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        else:
            assert (ours == theirs).double().mean() >= 0.999


def verify_assignment(find, op: str, *args) -> None:
    """The C++ kernel's, but for one anchor in 1000, where two shares are as close as rounding."""
    expected = cpp_kernel(op)(*args)
    found = [t.cpu() for t in find(op)(*to_gpu(args))]
    same = found[0] == expected[0]
    assert same.double().mean() >= 0.999
    torch.testing.assert_close(found[1][same], expected[1][same], rtol=0, atol=0)


@each_server
@pytest.mark.parametrize("batch", COUNTS)
def test_simota(benchmark, find, batch):
    benchmark.group = f"simota {batch} N=8400 C=80 gts=1..50"
    args = *scene(COUNTS[batch]), *RULE
    verify(find, "simota", *args, 10, "down")
    time_replays(benchmark, find("simota"), *to_gpu(args), 10, "down")


def test_simota_megvii(benchmark):
    """The loop over images on the same GPU, with its synchronisations."""
    pytest.importorskip("yolox", reason="the peer is not on every GPU machine")
    from benchmarks.peers import Megvii

    benchmark.group = "simota B=16 N=8400 C=80 gts=1..50"
    args = to_gpu(scene(COUNTS["B=16"]))
    megvii = Megvii(*args)
    megvii.head.cuda()

    def run() -> None:
        megvii.run()
        torch.cuda.synchronize()

    benchmark.pedantic(run, rounds=5, warmup_rounds=2)
    benchmark.extra_info["us_per_call"] = round(benchmark.stats.stats.median * 1e6, 2)


@each_server
@pytest.mark.parametrize("tolerance", [0.0, 0.01])
@pytest.mark.parametrize("batch", COUNTS)
def test_ota(benchmark, find, batch, tolerance):
    benchmark.group = f"ota {batch} N=8400 C=80 gts=1..50 tolerance={tolerance}"
    pred_boxes, cls_logits, _, *rest = scene(COUNTS[batch])
    args = pred_boxes, cls_logits, None, *rest, 2.5, 20, 1.5, 0.1, 50, tolerance, 0.25, 2.0
    verify_assignment(find, "ota", *args)
    time_replays(benchmark, find("ota"), *to_gpu(args))


@each_server
@pytest.mark.parametrize(("M", "N"), [(51, 8400), (300, 300)])
def test_sinkhorn(benchmark, find, M, N):
    benchmark.group = f"sinkhorn 16 x {M} x {N}, 50 iterations"
    args = torch.rand(16, M, N) * 5, torch.rand(16, M) * 9, torch.rand(16, N), 0.1, 50, 0.0
    verify(find, "sinkhorn", *args)
    time_replays(benchmark, find("sinkhorn"), *to_gpu(args))


@each_server
def test_simota_cost(benchmark, find):
    benchmark.group = "simota_cost B=16"
    args = *scene(COUNTS["B=16"]), *RULE
    verify(find, "simota_cost", *args)
    time_replays(benchmark, find("simota_cost"), *to_gpu(args), work=16 * args[5].shape[1] * 8400 * 12)


@each_server
def test_dynamic_k_match(benchmark, find):
    benchmark.group = "dynamic_k_match B=16"
    inputs = scene(COUNTS["B=16"])
    args = *yolox_ops.simota_cost(*inputs), inputs[-1], 10, "down"
    verify(find, "dynamic_k_match", *args)
    time_replays(benchmark, find("dynamic_k_match"), *to_gpu(args))


@each_server
def test_pairwise_iou(benchmark, find):
    benchmark.group = "pairwise_iou 20000 x 20000"
    boxes = random_boxes(1, 20000)
    verify(find, "pairwise_iou", boxes[:, :2000], boxes, "xyxy", "iou")
    time_replays(benchmark, find("pairwise_iou"), boxes.cuda(), boxes.cuda(), "xyxy", "iou", work=4 * 20000**2)


def test_copy(benchmark):
    """The ceiling for pairwise_iou: what a copy of its result moves, read and written."""
    benchmark.group = "pairwise_iou 20000 x 20000"
    source = torch.rand(20000, 20000, device="cuda")
    target = torch.empty_like(source)
    time_replays(benchmark, lambda: target.copy_(source), work=2 * 4 * 20000**2)


@each_server
@pytest.mark.parametrize("op", ["aligned_iou", "aligned_iou_backward"])
def test_aligned_iou(benchmark, find, op):
    benchmark.group = f"{op} 1,000,000 ciou"
    boxes = random_boxes(1_000_000)
    args = (boxes, boxes.roll(1, 0) + 3, "xyxy", "ciou")
    if op == "aligned_iou_backward":
        args = (torch.rand(1_000_000), *args)
    verify(find, op, *args)
    time_replays(benchmark, find(op), *to_gpu(args), work=1_000_000 * (36 if op == "aligned_iou" else 68))


@each_server
@pytest.mark.parametrize(("batch", "size", "kinds"), [(64, 1000, 80), (1, 5000, 1), (1, 5000, 80)])
def test_soft_nms(benchmark, find, batch, size, kinds):
    benchmark.group = f"soft_nms {batch} x {size} boxes of {kinds} labels"
    labels = torch.randint(kinds, (batch, size))
    args = (random_boxes(batch, size), torch.rand(batch, size), labels, "gaussian", 0.5, 0.3, 1e-3, -1, "xyxy")
    verify(find, "soft_nms", *args)
    time_replays(benchmark, find("soft_nms"), *to_gpu(args))


def test_soft_nms_on_the_cpu(benchmark):
    benchmark.group = "soft_nms 1 x 5000 boxes of 1 labels"
    boxes, scores = random_boxes(1, 5000), torch.rand(1, 5000)
    benchmark(yolox_ops.batched_soft_nms, boxes, scores)
    benchmark.extra_info["us_per_call"] = round(benchmark.stats.stats.median * 1e6, 2)
