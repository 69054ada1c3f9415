"""Costs and IoUs to match by, and when a matching counts as right."""

import math

import torch
from torch.testing import assert_close

from python_ref.dynamic_k_match import dynamic_k_match as reference


def random_case(shape, seed=0, levels=None):
    """cost and iou [B, G, N]; `levels` (a power of 2) draws both from few values, so that ties abound. IoUs are
    multiples of a power of 2, whose sums are exact in float32, so that k never turns on rounding."""
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(*shape, generator=generator) * 10
    iou = (torch.rand(*shape, generator=generator) ** 3 * 64).floor() / 64
    if levels:
        cost, iou = (cost * levels / 10).floor(), (iou * levels).floor() / levels
    cost[torch.rand(*shape, generator=generator) < 0.2] = math.inf
    return cost, iou * cost.isfinite()


def check_match(result, cost, iou, num_gts=None, **rule):
    for b in range(len(cost)):
        count = cost.shape[1] if num_gts is None else int(num_gts[b])
        if not count:
            assert (result.matched_gt[b] == -1).all() and result.num_fg[b] == 0
            continue
        gts, ious, total = reference(cost[b, :count].double().tolist(), iou[b, :count].double().tolist(), **rule)
        assert result.matched_gt[b].tolist() == gts
        assert_close(result.matched_iou[b].double(), torch.tensor(ious, dtype=torch.float64), rtol=1e-6, atol=1e-7)
        assert result.num_fg[b] == total
