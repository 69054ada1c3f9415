"""The workloads of the budget, and the process in which ptx_budget.py has those of one backend executed."""

import gc
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks import gpu_workloads as calls
from benchmarks.gpu_workloads import COUNTS, Arguments
from benchmarks.sass import instructions_per_pair
from benchmarks.scenes import scene
from tests.ptx.build import OUTPUT
from tests.ptx.costs import H200, RTX_4090, LaunchCost
from tests.ptx.tensors import simulator

ANCHORS = 8400
LANES = 32
BACKENDS = ("cuda", "triton")
Figures = dict[str, float]
Launches = list[list[LaunchCost]]  # of each launch, on each machine


@dataclass(frozen=True)
class Workload:
    op: str
    arguments: Callable[[], Arguments]
    per: str  # what instructions are counted by
    count: int  # of these
    backends: tuple[str, ...] = BACKENDS
    iterations: tuple[int, int] | None = None  # those that are executed, and those of the call that they stand for
    loop: str = ""  # in the name of the CUDA kernel whose innermost loop is counted as ptxas makes it

    @property
    def facts(self) -> dict[str, Any]:
        facts = {"op": self.op, "per": self.per, "count": self.count}
        return facts | ({"iterations": self.iterations[0]} if self.iterations else {})


def of_anchors(
    op: str, counts: list[int], arguments: Callable[[], Arguments], backends: tuple[str, ...] = BACKENDS
) -> Workload:
    return Workload(op, arguments, "anchor", len(counts) * ANCHORS, backends)


def of_rows(op: str, counts: list[int], call: Callable[[list[int]], Arguments], **options: Any) -> Workload:
    """An op whose matrices have a row for each object, and for what pads an image up to the most."""
    return Workload(op, partial(call, counts), "pair", len(counts) * max(counts) * ANCHORS, **options)


B16, B64, B2 = COUNTS["B=16"], COUNTS["B=64"], COUNTS["B=16"][:2]
CUDA = ("cuda",)  # what takes Triton's kernels too long here has a smaller sibling
WORKLOADS = {
    "pairwise_iou_2000x2000": Workload(
        "pairwise_iou",
        partial(calls.pairwise_iou, 2000, 2000),
        "pair",
        4_000_000,
        loop="forward_kernelIfLNS_4KindE0ELb1E",
    ),
    "pairwise_iou_backward_1000x1000": Workload(
        "pairwise_iou_backward", partial(calls.pairwise_iou_backward, 1000, 1000), "pair", 1_000_000
    ),
    "aligned_iou_100000": Workload("aligned_iou", partial(calls.aligned_iou, 100_000), "pair", 100_000),
    "aligned_iou_backward_100000": Workload(
        "aligned_iou_backward", partial(calls.aligned_iou_backward, 100_000), "pair", 100_000
    ),
    "simota_cost_b16": of_rows("simota_cost", B16, calls.simota_cost),
    "simota_cost_b2": of_rows("simota_cost", B2, calls.simota_cost),
    "dynamic_k_match_b16": of_rows("dynamic_k_match", B16, calls.dynamic_k_match),
    "simota_b16": of_anchors("simota", B16, lambda: calls.simota(B16)),
    "simota_b64": of_anchors("simota", B64, lambda: calls.simota(B64)),
    "ota_b16": of_anchors("ota", B16, lambda: calls.ota(scene(B16)), CUDA),
    "ota_b16_far": of_anchors("ota", B16, lambda: calls.ota(calls.far_scene(B16)), CUDA),
    "ota_b16_four_far": of_anchors("ota", B16, lambda: calls.ota(calls.far_scene(B16, far=4)), CUDA),
    "ota_b2": of_anchors("ota", B2, lambda: calls.ota(scene(B2))),
    "ota_b2_far": of_anchors("ota", B2, lambda: calls.ota(calls.far_scene(B2))),
    "sinkhorn_b16": Workload(
        "sinkhorn", partial(calls.sinkhorn, 51, ANCHORS, 3), "element", 16 * 51 * ANCHORS, iterations=(3, 50)
    ),
    "soft_nms_64x1000": Workload("soft_nms", partial(calls.soft_nms, 64, 1000, 80), "box", 64_000),
    "soft_nms_5000": Workload("soft_nms", partial(calls.soft_nms, 1, 5000, 1), "box", 5000, CUDA),
    "soft_nms_2000": Workload("soft_nms", partial(calls.soft_nms, 1, 2000, 1), "box", 2000),
}


def figures_of(workload: Workload, launches: Launches) -> Figures:
    """The longest block and the mean are those of the launch that has the longest, on the H200."""

    def sum_up(machine: int, figure: str) -> float:
        return sum(getattr(costs[machine], figure) for costs in launches)

    slowest = max((costs[0] for costs in launches), key=lambda cost: cost.longest_block)
    figures = {
        "h200_us": sum_up(0, "microseconds"),
        "h200_bound_us": sum_up(0, "bound_microseconds"),
        "rtx_4090_us": sum_up(1, "microseconds"),
        "rtx_4090_bound_us": sum_up(1, "bound_microseconds"),
        "longest_block_us": slowest.longest_block / slowest.megahertz,
        "mean_block_us": slowest.mean_block / slowest.megahertz,
        "instructions": LANES * sum_up(0, "instructions") / workload.count,
        "fp64_instructions": LANES * sum_up(0, "fp64_instructions") / workload.count,
        "bytes": sum_up(0, "bytes") / workload.count,
    }
    if workload.iterations is not None:
        executed, of_call = workload.iterations
        figures[f"h200_{of_call}_iterations_us"] = stretch(launches, executed, of_call)
    return {"launches": len(launches), **{name: float(f"{figure:.4g}") for name, figure in figures.items()}}


def stretch(launches: Launches, executed: int, of_call: int) -> float:
    """Microseconds on the H200 if the last of the iterations were repeated: it is one launch, and two more follow."""
    times = [costs[0].microseconds for costs in launches]
    return sum(times) + (of_call - executed) * times[-3]


def measure(name: str, find: Callable[[str], Callable]) -> Figures:
    workload = WORKLOADS[name]
    arguments = workload.arguments()
    with simulator().measured(H200, RTX_4090) as launches:
        find(workload.op)(*arguments)
    return figures_of(workload, [costs for _, costs in launches])


def main(backend: str) -> None:
    """Prints the figures of a backend's workloads as JSON."""
    torch.set_num_threads(1)
    gc.disable()
    if backend == "cuda":
        from tests.ptx.compiled_cuda import ptx_kernel as find
    else:
        from tests.ptx.compiled_triton import triton_kernel as find
    found = {name: measure(name, find) for name, workload in WORKLOADS.items() if backend in workload.backends}
    if backend == "cuda":
        for name, workload in WORKLOADS.items():
            if workload.loop:
                ptx = (OUTPUT / f"cuda/{workload.op}.ptx").read_text()
                found[name]["sass_instructions"] = instructions_per_pair(ptx, workload.loop)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
