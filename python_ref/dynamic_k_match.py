"""Dynamic k matching in plain Python, one image: Megvii's YOLOXHead.simota_matching with every tie decided."""

import math
from collections.abc import Sequence

Matrix = Sequence[Sequence[float]]


def preference(cost: float, index: int) -> tuple[bool, float, int]:
    """Numbers before NaN, low cost before high, low index before high."""
    return (math.isnan(cost), 0.0 if math.isnan(cost) else cost, index)


def sum_largest(
    iou_row: Sequence[float],  # [N]
    topk: int,
) -> float:
    return sum(sorted((0.0 if math.isnan(x) else x for x in iou_row), reverse=True)[:topk])


def dynamic_k(total: float, k_rounding: str) -> int:
    return max(1, int(total)) if k_rounding == "down" else round(total)  # half to even


def cheapest(
    cost_row: Sequence[float],  # [N]
    k: int,
) -> list[int]:
    """The k cheapest anchors that may match at all."""
    able = [j for j, cost in enumerate(cost_row) if cost != math.inf]
    return sorted(able, key=lambda j: preference(cost_row[j], j))[:k]


def find_cheapest_gt(
    cost: Matrix,  # [G, N]
    j: int,
) -> int:
    """The conflict rule: the argmin of the cost over all ground truths of the image."""
    able = [i for i in range(len(cost)) if cost[i][j] != math.inf]
    return min(able, key=lambda i: preference(cost[i][j], i))


def dynamic_k_match(
    cost: Matrix,  # [G, N]
    iou: Matrix,  # [G, N]
    topk: int = 10,
    k_rounding: str = "down",
) -> tuple[list[int], list[float], int]:
    """matched_gt [N] with -1 for background, matched_iou [N], num_fg."""
    N = len(cost[0]) if cost else 0
    takers: list[list[int]] = [[] for _ in range(N)]
    for i, row in enumerate(cost):
        for j in cheapest(row, dynamic_k(sum_largest(iou[i], topk), k_rounding)):
            takers[j].append(i)
    matched_gt, matched_iou = [-1] * N, [0.0] * N
    for j, gts in enumerate(takers):
        if not gts:
            continue
        matched_gt[j] = gts[0] if len(gts) == 1 else find_cheapest_gt(cost, j)
        overlap = iou[matched_gt[j]][j]
        matched_iou[j] = 0.0 if math.isnan(overlap) else overlap
    return matched_gt, matched_iou, sum(gt >= 0 for gt in matched_gt)
