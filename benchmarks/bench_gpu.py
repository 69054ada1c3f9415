"""Ops on a GPU, CUDA C++ and Triton: up to 100 replays of a captured graph a round, so that neither Python nor launch
gaps count; `us_per_call` in the JSON is the figure. Peers run eagerly, as they must. Answers are verified first."""

import functools
import time

import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map_only

import yolox_ops
from benchmarks import gpu_workloads as workloads
from benchmarks.gpu_workloads import COUNTS
from benchmarks.peers.torch_ops import simota_torch
from benchmarks.scenes import scene
from tests.support.impls import cpp_kernel, triton_launcher

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
FIND = {"cuda": cpp_kernel, "triton": triton_launcher}
each_server = pytest.mark.parametrize("server", FIND)
REPLAYS = 100
LONGEST_ROUND = 0.05  # seconds; a slow call is replayed less often
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchCooperativeKernel", "cuLaunch")  # those of CUDA C++; Triton's own
VERIFIED = "within 1e-5 of the C++ kernel on the CPU, indices in all but 0.1 %"


def to_gpu(args):
    return tree_map_only(torch.Tensor, lambda t: t.cuda(), args)


def launches_and_waits(call) -> dict[str, int]:
    """Of a call that has run before."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        call()
    names = [event.name for event in profile.events()]
    return {
        "launches": sum(name.startswith(LAUNCHES) for name in names),
        "waits": sum(name == "cudaStreamSynchronize" for name in names),
    }


def note(benchmark, who: str, verified: str, seconds: float, call) -> None:
    """What the report wants to know; the group is "op: case"."""
    op, case = benchmark.group.split(": ")
    benchmark.extra_info.update(
        {"server" if who in FIND else "who": who},
        table="gpu",
        op=op,
        case=case,
        verified=verified,
        us_per_call=round(seconds * 1e6, 2),
        **launches_and_waits(call),
    )


def time_eagerly(benchmark, who: str, verified: str, call) -> None:
    """As others' code must run, which waits for the device inside a call; so Python and the launches count."""
    call()

    def run() -> None:
        call()
        torch.cuda.synchronize()

    benchmark.pedantic(run, rounds=10, warmup_rounds=2)
    note(benchmark, who, verified, benchmark.stats.stats.median, call)


def time_replays(benchmark, server: str, kernel, *args, work: int = 0) -> None:
    """`work`: bytes that a call must move, for GB/s beside the time."""
    kernel(*args)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernel(*args)

    def replay(times: int) -> None:
        for _ in range(times):
            graph.replay()
        torch.cuda.synchronize()

    replay(1)
    began = time.perf_counter()
    replay(1)
    replays = min(REPLAYS, int(LONGEST_ROUND / (time.perf_counter() - began)) + 1)
    benchmark.pedantic(replay, (replays,), rounds=20, warmup_rounds=3)
    seconds = benchmark.stats.stats.median / replays
    note(benchmark, server, VERIFIED, seconds, lambda: kernel(*args))
    if work:
        benchmark.extra_info["gb_per_s"] = round(work / seconds / 1e9)


def verify(server: str, op: str, *args) -> None:
    """Equal to the C++ kernel on the CPU, but for one index in 1000, where two scores that round otherwise are next to
    each other."""
    expected = cpp_kernel(op)(*args)
    found = tree_map_only(torch.Tensor, lambda t: t.cpu(), FIND[server](op)(*to_gpu(args)))
    for ours, theirs in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        if theirs.is_floating_point():
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        else:
            assert (ours == theirs).double().mean() >= 0.999


def verify_assignment(server: str, op: str, *args) -> None:
    """The C++ kernel's, but for one anchor in 1000, where two shares are as close as rounding."""
    expected = cpp_kernel(op)(*args)
    found = [t.cpu() for t in FIND[server](op)(*to_gpu(args))]
    same = found[0] == expected[0]
    assert same.double().mean() >= 0.999
    torch.testing.assert_close(found[1][same], expected[1][same], rtol=0, atol=0)


def equal(ours, theirs) -> str:
    different, positives = int((ours.matched_gt.cpu() != theirs.matched_gt.cpu()).sum()), int(ours.num_fg.sum())
    assert different <= 1 + positives // 10_000, f"{different} anchors differ"
    return f"equal to yolox_ops in all but {different} of {positives} positives"


@each_server
@pytest.mark.parametrize("batch", COUNTS)
def test_simota(benchmark, server, batch):
    benchmark.group = f"simota: {batch}, 1 to 50 objects"
    args = workloads.simota(COUNTS[batch])
    verify(server, "simota", *args)
    time_replays(benchmark, server, FIND[server]("simota"), *to_gpu(args))


def test_simota_megvii(benchmark):
    """The loop over images on the same GPU, with its synchronisations."""
    pytest.importorskip("yolox", reason="the peer is not on every GPU machine")
    from benchmarks.peers.megvii import Megvii

    benchmark.group = "simota: B=16, 1 to 50 objects, called from Python"
    args = to_gpu(scene(COUNTS["B=16"]))
    megvii = Megvii(*args)
    megvii.head.cuda()
    time_eagerly(benchmark, "Megvii YOLOX, loop", equal(yolox_ops.simota(*args), megvii.assignment()), megvii.run)


@pytest.mark.parametrize("who", ["yolox_ops", "torch, batched", "torch, batched, compiled"])
@pytest.mark.parametrize("batch", COUNTS)
def test_simota_from_python(benchmark, batch, who):
    """Ours and the strongest alternative without a kernel, called alike; compiled, torch replays it by CUDA graphs."""
    benchmark.group = f"simota: {batch}, 1 to 50 objects, called from Python"
    args = to_gpu(scene(COUNTS[batch]))
    compiled = torch.compile(simota_torch, mode="reduce-overhead", fullgraph=True)
    function = {"yolox_ops": yolox_ops.simota, "torch, batched": simota_torch}.get(who, compiled)
    verified = equal(yolox_ops.simota(*args), function(*args))
    time_eagerly(benchmark, who, verified, functools.partial(function, *args))


@each_server
@pytest.mark.parametrize("tolerance", [0.0, 0.01])
@pytest.mark.parametrize("batch", COUNTS)
def test_ota(benchmark, server, batch, tolerance):
    benchmark.group = f"ota: {batch}, 1 to 50 objects, tolerance={tolerance}"
    args = workloads.ota(scene(COUNTS[batch]), tolerance)
    verify_assignment(server, "ota", *args)
    time_replays(benchmark, server, FIND[server]("ota"), *to_gpu(args))


@each_server
@pytest.mark.parametrize(("M", "N"), [(51, 8400), (300, 300)])
def test_sinkhorn(benchmark, server, M, N):
    benchmark.group = f"sinkhorn: 16 x {M} x {N}, 50 iterations"
    args = workloads.sinkhorn(M, N)
    verify(server, "sinkhorn", *args)
    time_replays(benchmark, server, FIND[server]("sinkhorn"), *to_gpu(args))


@each_server
def test_simota_cost(benchmark, server):
    benchmark.group = "simota_cost: B=16, 1 to 50 objects"
    args = workloads.simota_cost(COUNTS["B=16"])
    verify(server, "simota_cost", *args)
    time_replays(benchmark, server, FIND[server]("simota_cost"), *to_gpu(args), work=16 * args[5].shape[1] * 8400 * 12)


@each_server
def test_dynamic_k_match(benchmark, server):
    benchmark.group = "dynamic_k_match: B=16, 1 to 50 objects"
    args = workloads.dynamic_k_match(COUNTS["B=16"])
    verify(server, "dynamic_k_match", *args)
    time_replays(benchmark, server, FIND[server]("dynamic_k_match"), *to_gpu(args))


@each_server
def test_pairwise_iou(benchmark, server):
    benchmark.group = "pairwise_iou: 20000 x 20000"
    verify(server, "pairwise_iou", *workloads.pairwise_iou(2000, 20000))
    args = to_gpu(workloads.pairwise_iou(20000, 20000))
    time_replays(benchmark, server, FIND[server]("pairwise_iou"), *args, work=4 * 20000**2)


def test_copy(benchmark):
    """The ceiling for pairwise_iou: what a copy of its result moves, read and written."""
    benchmark.group = "pairwise_iou: 20000 x 20000"
    source = torch.rand(20000, 20000, device="cuda")
    target = torch.empty_like(source)
    time_replays(benchmark, "copy", lambda: target.copy_(source), work=2 * 4 * 20000**2)


@each_server
@pytest.mark.parametrize("op", ["aligned_iou", "aligned_iou_backward"])
def test_aligned_iou(benchmark, server, op):
    benchmark.group = f"{op}: 1,000,000 pairs, CIoU"
    args = getattr(workloads, op)(1_000_000)
    verify(server, op, *args)
    time_replays(
        benchmark, server, FIND[server](op), *to_gpu(args), work=1_000_000 * (36 if op == "aligned_iou" else 68)
    )


@each_server
@pytest.mark.parametrize(("batch", "size", "kinds"), [(64, 1000, 80), (1, 5000, 1), (1, 5000, 80)])
def test_soft_nms(benchmark, server, batch, size, kinds):
    benchmark.group = f"soft_nms: {batch} x {size} boxes of {kinds} labels"
    args = workloads.soft_nms(batch, size, kinds)
    verify(server, "soft_nms", *args)
    time_replays(benchmark, server, FIND[server]("soft_nms"), *to_gpu(args))
