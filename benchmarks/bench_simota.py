"""simota beside Megvii's per-image loop, beside batched torch operations, eager and compiled, and beside two batched
assigners of other rules: C = 80, float32."""

import functools
import random

import pytest

from benchmarks.floors import Work, pairs_inside, simota_inputs
from benchmarks.memory import peak_bytes
from benchmarks.parity.presets import lists
from benchmarks.peers.batched import SuperGradients, TaskAligned
from benchmarks.peers.megvii import Megvii
from benchmarks.peers.torch_ops import compiled_simota, simota_torch
from benchmarks.scenes import aerial_scene, coco_counts, scene
from benchmarks.sweeps import Arguments, grown, sweeps
from benchmarks.workloads import Call
from python_ref.exactness import check_matching
from python_ref.simota_cost import simota_cost
from yolox_ops import Assignment, Scene, simota

DRAW = random.Random(0)
TO_50, TO_100 = ([DRAW.randint(1, most) for _ in range(16)] for most in (50, 100))
CASES = {
    "B=16, 1 to 50 objects": lambda: scene(TO_50),
    "B=16, COCO's number of objects": lambda: scene(coco_counts(16)),
    "B=1, an aerial image of 574 trees": aerial_scene,
    "B=16, 1 to 100 objects": lambda: scene(TO_100),
    "B=64, COCO's number of objects": lambda: scene(coco_counts(64)),
    "B=1, 574 objects, 80 classes": lambda: scene([574]),
    "B=1, 1 object": lambda: scene([1]),
}


def compare(ours: Assignment, theirs: Assignment, whose: str) -> str:
    """Equal but for one near-tie in 10,000 positives (tests/ and benchmarks/parity/presets.py look at these)."""
    different, positives = int((ours.matched_gt != theirs.matched_gt).sum()), int(ours.num_fg.sum())
    assert different <= 1 + positives // 10_000, f"{different} anchors differ"
    return f"equal to {whose} in all but {different} of {positives} positives"


def verify(args: Scene, peers: list[Assignment]) -> str:
    """Against the peers, of which the first is Megvii's. Where objects are so small that ties are everywhere, against
    the reference."""
    ours = simota(*args)
    if args[1].shape[2] > 1:
        for peer in peers[1:]:
            compare(ours, peer, "torch's")
        return compare(ours, peers[0], "Megvii's")
    check_matching(ours.matched_gt[0].tolist(), *simota_cost(*lists(args)))
    different = int((ours.matched_gt != peers[0].matched_gt).sum())
    return f"equal to the reference but for near-ties; Megvii's differs on {different} of {int(ours.num_fg)} positives"


def floor(args: Scene) -> Work:
    read, candidates = simota_inputs(args)
    B, N, C = args[1].shape
    pairs = int(pairs_inside(args).sum())
    return Work(
        read + B * (N * 12 + 8),
        "candidates' logits and boxes read, outputs written; a sigmoid for each class of a candidate, two logarithms "
        "and an IoU for each pair in a region",
        exponentials=candidates * C + 2 * pairs,
        divisions=pairs,
    )


@pytest.mark.parametrize("case", CASES)
def test_peers(race, case):
    args = CASES[case]()
    megvii, other_rule, other_algorithm = Megvii(*args), SuperGradients(*args), TaskAligned(*args)
    eager, compiled = functools.partial(simota_torch, *args), functools.partial(compiled_simota(), *args)
    differing = int((other_rule.assignment().matched_gt != simota(*args).matched_gt).sum())
    race(
        functools.partial(simota, *args),
        {
            "Megvii YOLOX, loop": megvii.run,
            "torch, batched": eager,
            "torch, batched, compiled": compiled,
            "super-gradients, fast (another algorithm)": other_rule.run,
            "ultralytics TaskAligned (another algorithm)": other_algorithm.run,
        },
        op="simota",
        case=case,
        verified=verify(args, [megvii.assignment(), eager(), compiled()])
        + f" (super-gradients' fast variant differs on {differing} anchors)",
        work=floor(args),
        counted=[
            "Megvii YOLOX, loop",
            "torch, batched",
            "super-gradients, fast (another algorithm)",
            "ultralytics TaskAligned (another algorithm)",
        ],
    )


@sweeps(
    simota,
    B=(1, 2, 4, 8, 16, 32, 64),
    G=(1, 8, 32, 64, 128, 256, 512, 1024),
    N=(2100, 8400, 33600, 134400),
    C=(20, 80, 320, 1280),
)
def sweep(axis: str, value: int) -> Arguments:
    return grown(axis, value, images=1 if axis == "G" else 8, objects=16), {}


@sweep.each_size()
def test_growth(race, axis, value):
    call = sweep.call(axis, value)
    compiled = functools.partial(compiled_simota(), *call.args)
    race(
        call,
        {"torch, batched, compiled": compiled},
        table="growth",
        op="simota",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=compare(call(), compiled(), "compiled torch operations'"),
        work=floor(Scene(*call.args)),
    )


@pytest.mark.parametrize("objects", [10, 50, 100, 200, 500])
def test_memory(benchmark, objects):
    """Of one image, each contender in a process of its own."""
    benchmark.group = f"simota: memory of {objects} objects"
    args = scene([objects])
    verified = compare(simota(*args), simota_torch(*args), "batched torch operations")
    benchmark.pedantic(simota, args, rounds=5)
    benchmark.extra_info.update(
        table="memory",
        op="simota",
        case=f"B=1, {objects} objects",
        axis="G",
        value=objects,
        verified=verified,
        peak_bytes={
            "yolox_ops": peak_bytes("simota", [objects]),
            **{who: peak_bytes(who, [objects]) for who in ("Megvii YOLOX, loop", "torch, batched")},
        },
    )


def workload_simota() -> Call:
    """N = 8400, images of 5 and 50 objects, C = 80"""
    args = scene([5, 50])
    return lambda: simota(*args)
