"""simota beside Megvii's own code, as the package pixeltable-yolox carries it. The long run of the same comparison is
benchmarks/parity/presets.py."""

import pytest
import torch
from matching import check_golden
from scenes import golden_scene

from benchmarks.parity.presets import compare, megvii, random_scene
from benchmarks.peers.megvii import Megvii
from benchmarks.scenes import scene
from yolox_ops import simota


def test_sixty_random_images():
    scenes = [random_scene(seed) for seed in range(60)]
    positives, different = compare("yolox", megvii(scenes), scenes)
    assert positives > 3000
    assert different * 1000 <= positives


def test_a_batch_of_training_size():
    args = scene([3, 0, 41, 17], seed=5)
    ours, theirs = simota(*args), Megvii(*args).assignment()
    assert (ours.matched_gt != theirs.matched_gt).sum() <= 1
    assert ours.num_fg[1] == 0


@pytest.mark.parametrize("run", [simota, lambda *args: Megvii(*args).assignment()], ids=["simota", "megvii"])
def test_golden_assignment(run):
    check_golden(run(*golden_scene()))


def test_objects_out_of_reach():
    """No object has a candidate: Megvii crashes there, this fork of it and simota leave all to the background."""
    scene = golden_scene()
    args = scene._replace(gt_boxes=scene.gt_boxes + torch.tensor([1000.0, 1000.0, 0.0, 0.0]))
    assert Megvii(*args).assignment().num_fg.item() == 0
    assert simota(*args).num_fg.item() == 0
