"""The patch of Megvii's head beside the heads' own code: pixeltable-yolox's, which is that of Megvii's repository
today, and that of the package yolox 0.3.0. tests/integrations/test_megvii_training.py trains with it."""

import pytest
import torch
from megvii_heads import CLASSES, arguments, check_equal, each_head, head_of, losses
from scenes import golden_scene
from torch import nn

from benchmarks.peers.megvii import Megvii
from benchmarks.scenes import scene
from yolox_ops.integrations import megvii


@each_head
@pytest.mark.parametrize("use_l1", [False, True])
@pytest.mark.parametrize(("counts", "seed"), [([5], 0), ([3, 0, 12, 7], 1), ([0, 0], 2), ([30, 1], 3)])
def test_losses_and_gradients_are_the_heads_own(release, use_l1, counts, seed):
    head = megvii.patch(head_of(release))
    head.use_l1 = use_l1
    ours, theirs = (losses(head, arguments(counts, seed), own) for own in (False, True))
    check_equal(ours, theirs)
    assert isinstance(ours[0][4], float) != use_l1  # the head's own 0.0 is a number, too
    assert ours[0][5].shape == () and ours[0][5] > 0


@each_head
def test_giou(release):
    head = megvii.patch(head_of(release))
    head.iou_loss.loss_type = "giou"
    check_equal(*(losses(head, arguments([6, 3], 4), own) for own in (False, True)))


@each_head
def test_get_assignments(release, monkeypatch):
    """The head's own five returns, from its own signature."""
    head = megvii.patch(head_of(release))
    own_code = type(head_of(release)).get_assignments
    for seed in range(8):
        args = scene([7, 2], CLASSES, 128, seed)
        peer = Megvii(*args, release=release)
        theirs = peer.run()
        peer.head = head
        with monkeypatch.context() as patching:
            patching.delattr(type(head_of(release)), "get_assignments")
            ours = peer.run()
        assert type(head_of(release)).get_assignments is own_code
        for mine, own in zip(ours, theirs, strict=True):
            for a, b in zip(mine, own, strict=True):
                assert type(a) is type(b)
                assert a == b if isinstance(a, int) else a.dtype == b.dtype
                if not isinstance(a, int):
                    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    pred_boxes, cls_logits, obj_logits, points, strides, gt_boxes, gt_labels, _ = golden_scene()
    shifts = (points / strides[:, None] - 0.5).T[:, None]
    gts = torch.cat([gt_boxes[0], torch.rand(2, 4) * 50]), torch.tensor([*gt_labels[0], 9.0, 9.0])  # two rows too many
    answer = megvii.get_assignments(
        0, 3, *gts, pred_boxes[0], strides[None], *shifts, cls_logits, obj_logits[..., None], "cpu"
    )
    assert answer[0].tolist() == [0, 0, 1, 0, 1, 2, 2, 2] and answer[3].tolist() == [0, 0, 2, 0, 2, 1, 1, 1]
    assert answer[1].nonzero()[:, 0].tolist() == [17, 18, 19, 26, 27, 70, 71, 74] and answer[4] == 8


@each_head
def test_get_assignments_of_integers(release):
    """Labels of integers are cut into boxes of integers, which the head's own code takes."""
    args = scene([4], CLASSES, 128, 3)
    whole = [*args[:5], args[5].round().int(), *args[6:]]
    theirs = Megvii(*whole, release=release)
    ours = Megvii(*whole, release=release)
    megvii.patch(ours.head)
    for mine, own in zip(ours.run()[0], theirs.run()[0], strict=True):
        torch.testing.assert_close(torch.as_tensor(mine), torch.as_tensor(own), rtol=1e-5, atol=1e-6)


def test_every_row_with_a_box_is_an_object():
    """The head's own code drops objects whose numbers add up to nothing, and then takes the wrong rows."""
    head = megvii.patch(head_of(False))
    packed = torch.tensor([[0, -8.0, -60, 20, 40], [2, 60, 60, 30, 30], [0, 4, 4, 20, 20], [0] * 5, [0] * 5])
    assert packed[0].sum() < 0
    args = list(arguments([1], 5))
    found = []
    packed[4, 0] = -1  # how some pad
    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 1, 2]):
        args[4] = packed[order][None]
        found.append(losses(head, args))
        inputs = megvii.scene(*args[1:6])
        assert inputs[-1].tolist() == [3] and torch.equal(inputs[5][0, :3], packed[:3, 1:])
        assert inputs[6][0, :3].tolist() == [0, 2, 0]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_half_precision_and_its_warning():
    """Under autocast the head's outputs are halves; labels that are, too, were rounded by somebody else."""
    head = megvii.patch(head_of(False))
    args = arguments([4, 9], 6)
    wanted, _ = losses(head, args)
    halved = list(arguments([4, 9], 6, torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        found, gradients = losses(head, halved)
    assert all(t.dtype == torch.float32 for t in (*found[:4], found[5])) and gradients[0].dtype == torch.bfloat16
    torch.testing.assert_close(found[0], wanted[0], rtol=0.05, atol=0)
    exact = list(arguments([4, 9], 6))
    exact[5] = halved[5].detach().float().requires_grad_()
    exact[1:4] = halved[1:4]
    torch.testing.assert_close(losses(head, exact)[0], found, rtol=1e-6, atol=0)  # what arrives is computed in float32
    halved[4] = halved[4].half()
    with pytest.warns(UserWarning, match=r"labels arrive as torch.float16, which rounds them: pass float32"):
        losses(head, halved)


@each_head
def test_explained(release):
    model = nn.Sequential(head_of(release))
    args = arguments([3, 0], 9)
    for patched in (False, True):
        if patched:
            megvii.patch(model)
        kind, expected = type(model[0]), losses(model[0], args)
        with megvii.explained(model) as explanations:
            check_equal(losses(model[0], args), expected, rtol=0)
        assert type(model[0]) is kind
        [explanation] = explanations
        matched = Megvii(*scene([3, 0], CLASSES, 128, 9), release=release).assignment().matched_gt
        for gt in explanation.gts:
            assert gt.anchors.tolist() == (matched[0] == gt.row).nonzero()[:, 0].tolist()
            assert gt.k == gt.positives - gt.unasked + sum(gt.lost.values())
        assert len(explanation.gts) == 3 and explanation.images[1].positives == 0


def test_scene_is_what_the_ops_take():
    args = arguments([3, 1], 8)
    inputs = megvii.scene(*args[1:6])
    wanted = scene([3, 1], CLASSES, 128, 8)
    for found, want in zip(inputs[:5], wanted[:5], strict=True):
        torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-4)
    assert inputs[-1].tolist() == [3, 1] and torch.equal(inputs[5][0, :3], wanted[5][0, :3])
    assert inputs[6].dtype == torch.int64 and inputs[4].dtype == torch.float32
