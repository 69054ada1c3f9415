"""The plain torch simota that benchmarks compare with: its answers are simota's, or the comparison means nothing."""

import pytest
import torch
from matching import check_golden
from scenes import golden_scene, random_scene

from benchmarks.peers.torch_ops import simota_torch, square_levels
from benchmarks.scenes import scene
from yolox_ops import simota


def check_equal(args, **levels):
    ours, theirs = simota(*args), simota_torch(*args, **levels)
    assert ours.num_fg.sum() > 0
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)


def test_golden_assignment():
    check_golden(simota_torch(*golden_scene()))


@pytest.mark.parametrize("seed", range(20))
def test_random_images(seed):
    """One of them empty, objects also outside the image, padding that is no object."""
    check_equal(random_scene([3, 0, 12, 1], seed=seed))


def test_training_size():
    check_equal(scene([3, 0, 41, 17], seed=5))


def test_as_many_cells_as_anchors():
    check_equal(scene([60], size=160))


def test_border_objects_take_candidates_of_others():
    """The first object has 3 anchors of its own and is due 10; the others share theirs, and each is taken once."""
    args = golden_scene()
    gts = torch.tensor([[[0.0, 0, 24, 24], [20, 20, 24, 24], [20, 20, 30, 50]]])
    near = args.anchor_points.sub(gts[0, 1, :2]).norm(dim=-1).argsort()[:12]
    pred_boxes = args.pred_boxes.index_copy(1, near, gts[:, :1].expand(-1, 12, -1) + torch.arange(12.0)[:, None] / 64)
    args = args._replace(gt_boxes=gts, pred_boxes=pred_boxes)
    assert simota(*args).matched_gt.eq(0).sum() > 3
    check_equal(args)


def test_objects_between_all_anchors():
    """Each centre is as far from four anchors of every level, and the reach ends on further ones."""
    args = scene([4], size=160)
    centres = torch.tensor([[32.0, 32], [96, 64], [64, 128], [128, 128]])
    check_equal((*args[:5], torch.cat([centres[None], args[5][..., 2:]], -1), *args[6:]))


def test_an_image_that_is_no_square():
    args = golden_scene()
    with pytest.raises(ValueError, match="anchors must be of a square image"):
        square_levels(83)
    check_equal(args, levels=[(8, 8, 8), (4, 4, 16), (2, 2, 32)])
