"""Calls every op on sizes near what a machine of 16 GB holds, most of them beyond 2^31 elements, and checks all of each
answer.

    PYTHONPATH=.:tests/support python tests/programs/largest.py [--case NAME ...]

A case repeats a small problem, whose answer is compared with python_ref's unless that would take too long, until the
tensors are large; the answer must then be the small one's everywhere, and, but where sums come in another order, with
the same bits. Cases run in processes of their own, one after the other, each of which may allocate LIMIT bytes. Fails
where an answer is wrong, and where a case needs more."""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable

import largest_scenes  # noqa: F401  # whose cases are run as well
import numpy as np
import torch
from boxes import random_boxes
from repeated import CASES, MANY, case, check_close, check_repeats, enough, repeated
from selection import check_selection
from torch import Tensor

import yolox_ops
import yolox_ops.numpy as on_arrays
from python_ref.pairwise_iou import pairwise_iou as reference_pairs
from python_ref.pairwise_iou import similarity
from python_ref.sinkhorn import sinkhorn as reference_plan

GB = 2**30
LIMIT = 12 * GB  # beside the process as it starts


def pairs() -> tuple[Tensor, Tensor, int]:
    """16 boxes, 32,800 others, and how often to repeat the first for more than 2^31 pairs."""
    return random_boxes(16), random_boxes(32_800, seed=1), enough(16 * 32_800)


@case
def pairwise_iou() -> None:
    boxes, others, count = pairs()
    answer = yolox_ops.pairwise_iou(boxes, others, kind="ciou")
    check_close(answer[:, -500:], reference_pairs(boxes.tolist(), others[-500:].tolist(), "xyxy", "ciou"))
    large = yolox_ops.pairwise_iou(repeated(boxes, count), others, kind="ciou")
    assert large.numel() > MANY
    check_repeats(large, answer)


@case
def pairwise_iou_backward() -> None:
    boxes, others, count = pairs()
    backward = torch.ops.yolox_ops.pairwise_iou_backward
    upstream = torch.linspace(-1, 1, 16 * 32_800).view(1, 16, -1)
    answer = backward(upstream, boxes[None], others[None], "xyxy", "giou")
    large = backward(repeated(upstream[0], count)[None], repeated(boxes, count)[None], others[None], "xyxy", "giou")
    check_repeats(large[0][0], answer[0][0])
    torch.testing.assert_close(large[1] / count, answer[1], rtol=1e-3, atol=1e-5)


@case
def numpy_pairwise_iou() -> None:
    boxes, others, count = pairs()
    answer = on_arrays.pairwise_iou(boxes.numpy(), others.numpy(), kind="giou")
    assert np.array_equal(answer, yolox_ops.pairwise_iou(boxes, others, kind="giou").numpy())
    large = on_arrays.pairwise_iou(repeated(boxes, count).numpy(), others.numpy(), kind="giou")
    assert large.size > MANY
    check_repeats(large, answer)


@case
def aligned_iou() -> None:
    """Each box with the next, where they lie: boxes in half precision would be copied to float32."""
    boxes = random_boxes(1000)
    next_ones = boxes.roll(-1, 0)
    answer = yolox_ops.aligned_iou(boxes, next_ones, kind="diou")
    check_close(
        answer, [similarity(a, b, "xyxy", "diou") for a, b in zip(boxes.tolist(), next_ones.tolist(), strict=True)]
    )
    large = repeated(boxes, enough(boxes.numel()))
    check_repeats(yolox_ops.aligned_iou(large[:-1], large[1:], kind="diou"), answer)


@case
def sinkhorn_of_many_problems() -> None:
    """All of them have the same costs in memory, as others would take 8 GB more."""
    cost, supply, demand = torch.rand(1, 20, 1000) * 2, torch.full((1, 20), 50.0), torch.ones(1, 1000)
    answer = yolox_ops.sinkhorn(cost, supply, demand, iterations=3)
    check_close(answer[0], reference_plan(cost[0].tolist(), supply[0].tolist(), demand[0].tolist(), iterations=3), 1e-4)
    count = enough(cost.numel())
    problem = (cost.expand(count, -1, -1), supply.expand(count, -1), demand.expand(count, -1))
    large = yolox_ops.sinkhorn(*problem, iterations=3)
    assert large.numel() > MANY
    check_repeats(large, answer)


@case
def sinkhorn_of_one_problem() -> None:
    """A thousand million pairs: with its columns repeated a problem has the same plan in each, as far as sums are
    rounded."""
    M, N, count = 1000, 500, 2100
    cost, demand = torch.rand(1, M, N).half(), torch.ones(1, N)
    supply = torch.full((1, M), N / M)
    answer = yolox_ops.sinkhorn(cost, supply, demand, iterations=2)[0]
    check_close(answer, reference_plan(cost[0].tolist(), supply[0].tolist(), demand[0].tolist(), iterations=2), 1e-4)
    large = yolox_ops.sinkhorn(cost.repeat(1, 1, count), supply * count, demand.repeat(1, count), iterations=2)[0]
    for row, wanted in zip(large.view(M, count, N), answer, strict=True):
        torch.testing.assert_close(row, wanted.expand(count, N), rtol=1e-4, atol=1e-6)


def crowds(rule: dict) -> tuple[Tensor, Tensor, Tensor]:
    """30 boxes that overlap, their scores, and what each has left of it, 0 if it drops out."""
    boxes, scores = random_boxes(30), torch.rand(30)
    found = yolox_ops.soft_nms(boxes, scores, **rule)
    check_selection(found, boxes, scores, **rule)
    return boxes, scores, torch.zeros(30).scatter(0, *found)


@case
def soft_nms_of_one_image() -> None:
    """Crowds beside one another: each decays as if alone, and all scores come in order, equal ones by index."""
    for method in ("hard", "linear", "gaussian"):
        boxes, scores, left = crowds({"method": method})
        copies = 100_000
        number = torch.arange(copies)
        place = torch.stack([number % 400, number // 400], -1) * 128.0
        large = (boxes + place.repeat(1, 2)[:, None]).view(-1, 4)
        indices, found = yolox_ops.soft_nms(large, repeated(scores, copies), method=method)
        wanted, order = repeated(left, copies).sort(descending=True, stable=True)
        assert indices.equal(order[: len(indices)]) and found.equal(wanted[: len(found)])
        assert (wanted[len(found) :] == 0).all()


def check_images(function: Callable, boxes: Tensor, scores: Tensor) -> None:
    """Batched, on arrays or tensors, of 2^29 coordinates: the op has 44 bytes of its own for each box."""
    rule = {"max_detections": 5}
    small = yolox_ops.batched_soft_nms(boxes, scores, **rule)
    for b in range(len(boxes)):
        check_selection((small.indices[b], small.scores[b]), boxes[b], scores[b], **rule)
    count = MANY // 4 // boxes.numel()
    for found, wanted in zip(function(repeated(boxes, count), repeated(scores, count), **rule), small, strict=True):
        check_repeats(found, wanted)


@case
def soft_nms_of_many_images() -> None:
    check_images(yolox_ops.batched_soft_nms, random_boxes(20, 100), torch.rand(20, 100))


@case
def numpy_soft_nms_of_many_images() -> None:
    def function(boxes: Tensor, scores: Tensor, **rule):
        return on_arrays.batched_soft_nms(boxes.numpy(), scores.numpy(), **rule)

    check_images(function, random_boxes(20, 100), torch.rand(20, 100))


def run(name: str) -> None:
    """In a process of its own."""
    torch.manual_seed(0)
    with open("/proc/self/statm") as sizes:
        taken = int(sizes.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + LIMIT, taken + LIMIT))
    began = time.monotonic()
    CASES[name]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{name}: {time.monotonic() - began:.0f} s, {peak / GB:.1f} GB", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, metavar="NAME", help=", ".join(CASES))
    failed = []
    names = parser.parse_args().case or list(CASES)
    for name in names:
        process = multiprocessing.get_context("spawn").Process(target=run, args=(name,))
        process.start()
        process.join()
        if process.exitcode:
            failed.append(name)
    print(f"{len(names) - len(failed)} cases are right" + "".join(f"\nFAILED: {name}" for name in failed))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
