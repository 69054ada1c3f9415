"""simota beside Megvii's own code, as the package pixeltable-yolox carries it. The long run of the same comparison is
benchmarks/parity_megvii.py."""

import pytest
import torch
from torch.testing import assert_close

from benchmarks.parity_megvii import compare
from benchmarks.peers import Megvii
from benchmarks.scenes import grid, scene
from yolox_ops import simota


def test_sixty_random_images():
    positives = different = 0
    for seed in range(60):
        found = compare(seed)
        positives, different = positives + found[0], different + found[1]
    assert positives > 3000
    assert different * 1000 <= positives


def test_a_batch_of_training_size():
    args = scene([3, 0, 41, 17], seed=5)
    ours, theirs = simota(*args), Megvii(*args).assignment()
    assert (ours.matched_gt != theirs.matched_gt).sum() <= 1
    assert ours.num_fg[1] == 0


def golden_scene():
    """64 x 64 pixels, 84 anchors, three objects; the answer below was written down from a run of Megvii's code."""
    points, strides = grid(64)
    j = torch.arange(84.0)
    size = torch.stack([2 + 0.01 * j, 3 - 0.005 * j], -1) * strides[:, None]
    return (
        torch.cat([points, size], -1)[None],
        torch.stack([j.sin(), j.cos(), (2 * j).sin()], -1)[None],
        (3 * j).cos()[None],
        points,
        strides,
        torch.tensor([[[20.0, 20, 24, 24], [44, 30, 30, 50], [28, 24, 20, 30]]]),
        torch.tensor([[0, 2, 1]]),
        torch.tensor([3]),
    )


@pytest.mark.parametrize("run", [simota, lambda *args: Megvii(*args).assignment()], ids=["simota", "megvii"])
def test_golden_assignment(run):
    result = run(*golden_scene())
    fg = result.fg_mask[0].nonzero().flatten()
    assert fg.tolist() == [17, 18, 19, 26, 27, 70, 71, 74]
    assert result.matched_gt[0, fg].tolist() == [0, 0, 2, 0, 2, 1, 1, 1]
    expected = torch.tensor([0.43159, 0.70487, 0.64876, 0.39351, 0.67045, 0.56735, 0.42287, 0.47765])
    assert_close(result.matched_iou[0, fg], expected, rtol=0, atol=1e-5)
    assert result.num_fg.item() == 8


def test_objects_out_of_reach():
    """No object has a candidate: Megvii crashes there, this fork of it and simota leave all to the background."""
    args = list(golden_scene())
    args[5] = args[5] + torch.tensor([1000.0, 1000.0, 0.0, 0.0])
    assert Megvii(*args).assignment().num_fg.item() == 0
    assert simota(*args).num_fg.item() == 0
