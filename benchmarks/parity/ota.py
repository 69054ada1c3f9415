"""Compares sinkhorn and ota with Megvii's rule, computed densely in float64, on random images of every size.

    python -m benchmarks.parity.ota                 # all sizes, a minute or two for each of the largest
    python -m benchmarks.parity.ota --exact         # and the cost of plans beside that of the exact transport

A plan must be within 1e-4, and an anchor that goes elsewhere must be a near-tie: a share within 2e-4 of the largest.
"""

import argparse
import time

import torch
from torch import Tensor

from benchmarks.peers.transport import megvii_ota_problem, megvii_sinkhorn, pot_exact, share
from benchmarks.scenes import scene
from yolox_ops import ota, sinkhorn

SIZES = [  # ground truths, classes, pixels, images
    (1, 80, 160, 20),
    (5, 10, 160, 20),
    (40, 10, 160, 20),
    (10, 80, 416, 10),
    (10, 80, 640, 10),
    (50, 80, 640, 10),
    (200, 80, 640, 4),
    (50, 80, 1280, 3),
    (500, 20, 1280, 1),
]


def image_problems(gts: int, classes: int, size: int, images: int):
    """For every image what ota takes, and Megvii's problem in float64."""
    for seed in range(images):
        pred_boxes, cls_logits, _, points, strides, gt_boxes, gt_labels, _ = scene([gts], classes, size, seed)
        args = (pred_boxes, cls_logits, points, strides, gt_boxes, gt_labels)
        doubles = [t.double() if t.is_floating_point() else t for t in args]
        yield args, megvii_ota_problem(doubles[0][0], doubles[1][0], *doubles[2:4], doubles[4][0], doubles[5][0])


def compare(gts: int, classes: int, size: int, images: int) -> str:
    anchors = positives = different = 0
    furthest = 0.0
    for args, (cost, supply, totals, _) in image_problems(gts, classes, size, images):
        assert ((totals + 1e-5).int() == (totals - 1e-5).int()).all(), "a k next to another"
        anchors = cost.shape[1]
        demand = cost.new_ones(anchors)
        plan = megvii_sinkhorn(cost, supply, demand)
        ours = sinkhorn(cost[None].float(), supply[None].float(), demand[None].float())[0]
        furthest = max(furthest, float((ours - plan).abs().max()))
        shares = share(plan)
        best, row = shares.max(0)
        matched_gt = ota(*args).matched_gt[0]
        found = torch.where(matched_gt < 0, gts, matched_gt)
        assert (shares.gather(0, found[None])[0] >= best * (1 - 2e-4)).all(), "an anchor went elsewhere"
        positives += int((row < gts).sum())
        different += int((found != row).sum())
    assert furthest <= 1e-4, f"a plan is {furthest} off"
    return f"{images:6} {gts:4} {anchors:6} {classes:3} {furthest:12.1e} {positives:9} {different:9}"


def total_cost(plan: Tensor, cost: Tensor) -> float:
    return float((plan.double() * cost).sum())


def compare_exact() -> None:
    """Of the pairs within the regions; what the 1e6 adds to either plan is 0."""
    print("\nimage: cost of the exact transport, and by how much that of sinkhorn's plan exceeds it")
    for _, (cost, supply, _, _) in image_problems(10, 10, 160, 5):
        least = total_cost(pot_exact(cost, supply, cost.new_ones(cost.shape[1])), cost)
        texts = []
        for epsilon, iterations in [(1.0, 50), (0.1, 50), (0.1, 1000), (0.01, 1000)]:
            rule = {"epsilon": epsilon, "iterations": iterations}
            plan = sinkhorn(cost[None], supply[None], cost.new_ones(1, cost.shape[1]), **rule)[0]
            texts.append(f"epsilon {epsilon}, {iterations} iterations: {total_cost(plan, cost) / least - 1:+.2%}")
        print(f"{least:9.3f}  " + "; ".join(texts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exact", action="store_true", help="compare with POT's network simplex as well")
    options = parser.parse_args()
    print("images gts/image anchors classes largest difference of plans, positives, anchors that differ (near-ties)")
    for size in SIZES:
        start = time.perf_counter()
        print(compare(*size), f"   {time.perf_counter() - start:.0f} s", flush=True)
    if options.exact:
        compare_exact()


if __name__ == "__main__":
    main()
