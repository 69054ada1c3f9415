"""When an assignment counts as right. Where the answer turns on rounding (a sum of IoUs next to an integer, two costs
next to each other) either answer is accepted, and counted; everything else must be equal."""

import itertools
import math

from python_ref.dynamic_k_match import cheapest, dynamic_k, dynamic_k_match, find_cheapest_gt, preference, sum_largest
from python_ref.ota import ota_supply, shares
from python_ref.sinkhorn import sinkhorn

NEAR = 1e-5


def near(cost: float, other: float, penalty: float, spacing: float = 0.0) -> bool:
    """Whether float32 may see two costs in either order: within 1e-5, beyond a cost of 10 within 1e-6 of it, as float32
    has no more digits. The penalty does not count, as no kernel adds it in float32; of a code that does, `spacing` is
    the distance of float32 numbers at the penalty."""
    size = min(abs(c - penalty) if c >= penalty else abs(c) for c in (cost, other))
    allowed = NEAR * max(1.0, size / 10) + (spacing if min(cost, other) >= penalty else 0.0)
    return cost == other or abs(cost - other) <= allowed


def possible_picks(
    cost_row: list[float],  # [N]
    iou_row: list[float],  # [N]
    topk: int,
    penalty: float,
    k_rounding: str = "down",
    spacing: float = 0.0,
) -> tuple[set[int], set[int]]:
    """Anchors that a ground truth must take, and those that it may take."""
    total = sum_largest(iou_row, topk)
    ks = {dynamic_k(t, k_rounding) for t in (total - NEAR, total, total + NEAR)}
    must, may = None, set()
    for k in ks:
        picks = cheapest(cost_row, k)
        last = cost_row[picks[-1]] if picks else math.inf
        doubtful = {j for j, cost in enumerate(cost_row) if cost != math.inf and near(cost, last, penalty, spacing)}
        if all(cost_row[j] == last for j in doubtful):  # a tie, which the index decides
            doubtful = set()
        sure = set(picks) - doubtful
        must = sure if must is None else must & sure
        may |= set(picks) | doubtful
    return must or set(), may


def check_matching(
    matched_gt: list[int],  # [N]
    cost: list[list[float]],  # [G, N]
    iou: list[list[float]],  # [G, N]
    topk: int = 10,
    penalty: float = 1e6,
    k_rounding: str = "down",
    spacing: float = 0.0,
) -> int:
    """Raises AssertionError unless the matching is right; returns how many anchors made use of the allowance. `penalty`
    is the outside_penalty that is in the costs, `spacing` as in `near`."""
    exact, _, _ = dynamic_k_match(cost, iou, topk, k_rounding)
    if matched_gt == exact:
        return 0
    picks = [possible_picks(*rows, topk, penalty, k_rounding, spacing) for rows in zip(cost, iou, strict=True)]
    for j, found in enumerate(matched_gt):
        must = {i for i, (sure, _) in enumerate(picks) if j in sure}
        may = {i for i, (_, open_) in enumerate(picks) if j in open_}
        allowed = {i for i in may if must <= {i}} | (set() if must else {-1})
        if len(may) > 1:
            best = find_cheapest_gt(cost, j)
            allowed |= {i for i in range(len(cost)) if near(cost[i][j], cost[best][j], penalty, spacing)} | {best}
        costs = [preference(row[j], i) for i, row in enumerate(cost)]
        assert found in allowed, f"anchor {j} went to {found}, allowed {sorted(allowed)}, costs {costs}"
    return sum(found != wanted for found, wanted in zip(matched_gt, exact, strict=True))


def check_decoding(
    matched_gt: list[int],  # [N]
    plan: list[list[float]],  # [G + 1, N]
    epsilon: float,
) -> int:
    """Raises AssertionError unless every anchor went to the row of a plan where it has the largest share of
    the row's largest element, or to one that costs 1e-5 apart from that could make it; returns how many did that."""
    used = 0
    for j, (found, share) in enumerate(zip(matched_gt, zip(*shares(plan), strict=True), strict=True)):
        # A share is a quotient of two masses, each with an error of 1e-5 in its exponent's numerator.
        least = max(share) * math.exp(-2 * NEAR / epsilon)
        assert share[found] >= least, f"anchor {j} went to {found}, shares {share}"
        used += found % len(plan) != share.index(max(share))
    return used


def check_transport(
    matched_gt: list[int],  # [N]
    cost: list[list[float]],  # [G + 1, N]
    totals: list[float],  # [G]
    epsilon: float = 0.1,
    iterations: int = 50,
    tolerance: float = 0.0,
) -> int:
    """The same of an answer of ota to ota_problem's cost and sums of IoUs, which may lie next to an integer."""
    choices = [sorted({dynamic_k(t - NEAR, "down"), dynamic_k(t + NEAR, "down")}) for t in totals]
    chosen = [dynamic_k(t, "down") for t in totals]
    order = sorted(itertools.product(*choices), key=lambda ks: sum(k != c for k, c in zip(ks, chosen, strict=True)))
    for ks in order:
        supply = ota_supply(cost, [float(k) for k in ks])
        plan = sinkhorn(cost, supply, [1.0] * len(cost[-1]), epsilon, iterations, tolerance)
        try:
            return check_decoding(matched_gt, plan, epsilon) + sum(k != c for k, c in zip(ks, chosen, strict=True))
        except AssertionError as error:
            wrong = error
    raise wrong
