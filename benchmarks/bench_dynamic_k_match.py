"""dynamic_k_match beside Megvii's simota_matching, on the cost matrices of a batch at 640 x 640."""

import pytest
import torch

from benchmarks.peers import Megvii
from benchmarks.scenes import scene
from yolox_ops import dynamic_k_match, simota_cost

torch.set_num_threads(2)
COUNTS = [50] * 4
ARGS = scene(COUNTS)
COST, IOU = simota_cost(*ARGS)
GROUP = "dynamic_k_match B=4 gts=50"


def megvii_matching() -> list:
    """Megvii matches an image on its candidates alone, and turns the mask of candidates into that of positives."""
    head, answers = Megvii(*ARGS).head, []
    for b, count in enumerate(COUNTS):
        mask = COST[b].isfinite().any(0)
        cost, iou = COST[b][:, mask].float(), IOU[b][:, mask]
        answers.append((head.simota_matching(cost, iou, ARGS[6][b], count, mask), mask))
    return answers


def verify() -> None:
    result = dynamic_k_match(COST, IOU)
    for b, ((num_fg, _, ious, gts), mask) in enumerate(megvii_matching()):
        assert num_fg == result.num_fg[b]
        assert torch.equal(mask, result.fg_mask[b])
        assert (gts != result.matched_gt[b, mask]).sum() <= 1
        torch.testing.assert_close(ious, result.matched_iou[b, mask])


@pytest.mark.benchmark(group=GROUP)
def test_yolox_ops(benchmark):
    verify()
    benchmark(dynamic_k_match, COST, IOU)


@pytest.mark.benchmark(group=GROUP)
def test_megvii(benchmark):
    verify()
    benchmark(megvii_matching)
