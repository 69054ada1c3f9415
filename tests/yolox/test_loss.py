"""yolox_loss beside Megvii's own get_losses, against the reference's loops, and what must not change it."""

import math

import pytest
import torch
from impls import DTYPES
from loss_inputs import decode, loss_of, value_and_gradient, with_head

from benchmarks.peers.megvii import Megvii
from python_ref.yolox_loss import yolox_loss as reference
from yolox_ops import Assignment, simota, yolox_loss


def megvii(head, points, strides, *gts, l1):
    """What Megvii.losses says of this head."""
    preds = decode(head, points, strides)
    peer = Megvii(*(p.detach() for p in preds), points, strides, *gts)
    return peer.losses(*preds, head[..., :4] if l1 else None)


def expected(preds, raw_boxes, points, strides, gt_boxes, gt_labels, num_gts, assignment, **options):
    """The reference's (total, box, obj, cls, l1) for this assignment."""
    counts = num_gts.tolist()
    return reference(
        *(t.detach().double().tolist() for t in preds),
        points.tolist(),
        strides.tolist(),
        [boxes[:count].tolist() for boxes, count in zip(gt_boxes.double(), counts, strict=True)],
        [labels[:count].tolist() for labels, count in zip(gt_labels, counts, strict=True)],
        assignment.matched_gt.tolist(),
        assignment.matched_iou.tolist(),
        raw_boxes.detach().double().tolist(),
        **options,
    )


@pytest.mark.parametrize("l1", [False, True])
@pytest.mark.parametrize(
    ("counts", "seed"), [([5], 0), ([3, 0, 12, 7], 1), ([0, 0], 2), ([1, 30], 3), ([9, 2, 4], 4), ([20, 20], 5)]
)
def test_megvii_in_value_and_gradient(counts, seed, l1):
    head, *rest = with_head(counts, seed)
    ours, gradient = value_and_gradient(head, *rest, l1=l1)
    theirs = megvii(head, *rest, l1=l1)
    (their_gradient,) = torch.autograd.grad(theirs[0], head)
    ours_their_way = (ours.total, 5 * ours.box, ours.obj, ours.cls, ours.l1)
    for mine, yours in zip(ours_their_way, theirs, strict=False):
        torch.testing.assert_close(mine, torch.as_tensor(yours), rtol=1e-4, atol=1e-6)
    assert max(int(ours.num_fg.sum()), 1) / max(sum(counts), 1) == pytest.approx(theirs[5])
    assert (ours.num_fg > 0).tolist() == [count > 0 for count in counts]
    torch.testing.assert_close(gradient, their_gradient, rtol=1e-4, atol=1e-6 * their_gradient.abs().max().item())


def test_megvii_giou():
    """Matched at random, so that most boxes lie apart from their ground truth and GIoU is negative."""
    head, *rest = with_head([6, 3], 6)
    preds = decode(head, *rest[:2])
    iou_loss = Megvii(*(p.detach() for p in preds), *rest).head.iou_loss
    iou_loss.loss_type = "giou"
    matched = torch.randint(-3, 3, preds[2].shape).clamp(min=-1)
    fg = matched >= 0
    assignment = Assignment(matched, torch.zeros(fg.shape), fg.sum(1))
    gt = rest[2].gather(1, matched.clamp(min=0)[..., None].expand(-1, -1, 4))
    theirs = iou_loss(preds[0][fg], gt[fg]).sum() / fg.sum()
    ours = loss_of(head, *rest, box_loss="giou", assigner=lambda *scene: assignment).box
    assert ours > 1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)
    ours, theirs = (torch.autograd.grad(box, head, retain_graph=True)[0] for box in (ours, theirs))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("objectness", ["binary", "iou"])
@pytest.mark.parametrize("box_loss", ["iou", "giou"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_reference(box_loss, objectness, dtype):
    head, points, *rest = with_head([4, 0, 9], 7, 96, dtype)
    options = {"box_loss": box_loss, "objectness": objectness, "reg_weight": 3.0}
    preds = tuple(p.to(dtype) for p in decode(head, points, rest[0]))
    assignment = simota(*preds, points, *rest)
    ours = yolox_loss(*preds, points, *rest, raw_boxes=head[..., :4], **options)
    assert ours.total.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert assignment.num_fg.sum() > 20 and torch.equal(ours.num_fg, assignment.num_fg)
    want = expected(preds, head[..., :4], points, *rest, assignment, **options)
    assert [x.item() for x in ours[:5]] == pytest.approx(want, rel=1e-6 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("box_loss", ["iou", "giou"])
@pytest.mark.parametrize("objectness", ["binary", "iou"])
def test_the_reference_of_objects_of_no_size(box_loss, objectness):
    head, points, *rest = with_head([4, 0, 9], 7, 96, torch.float64)
    rest[1][0, :3, 2:] = torch.tensor([[0.0, 0.0], [-40.0, -30.0], [24.0, -0.0]])
    rest[1][2, 5, 2] = -1e30
    options = {"box_loss": box_loss, "objectness": objectness}
    preds = decode(head, points, rest[0])
    assignment = simota(*(p.detach() for p in preds), points, *rest)
    assert {0, 1, 2} <= set(assignment.matched_gt[0].tolist())
    ours = yolox_loss(*preds, points, *rest, raw_boxes=head[..., :4], **options)
    want = expected(preds, head[..., :4], points, *rest, assignment, **options)
    assert [x.item() for x in ours[:5]] == pytest.approx(want, rel=1e-6)


def test_autocast_changes_nothing():
    head, *rest = with_head([4, 0, 7], 19)
    preds = tuple(t.detach().bfloat16() for t in decode(head, *rest[:2]))
    raw_boxes = head[..., :4].detach().bfloat16()
    plain = yolox_loss(*preds, *rest, raw_boxes=raw_boxes, objectness="iou")
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(
            yolox_loss(*preds, *rest, raw_boxes=raw_boxes, objectness="iou"), plain, rtol=0, atol=0
        )


def test_objectness_targets_are_constants():
    """The gradient of BCE is sigmoid - target: so the targets are seen in it. And none goes into the boxes."""
    head, *rest = with_head([4, 0, 9], 8, 96)
    assignment = simota(*(p.detach() for p in decode(head, *rest[:2])), *rest)
    loss = loss_of(head, *rest, objectness="iou")
    (gradient,) = torch.autograd.grad(loss.obj, head)
    target = head[..., 4].sigmoid() - gradient[..., 4] * loss.num_fg.sum()
    fg = assignment.fg_mask
    torch.testing.assert_close(target[fg], assignment.matched_iou[fg], rtol=0, atol=1e-4)
    assert (target[~fg] > 0.3).any() and target[1].abs().max() < 1e-4
    assert gradient[..., :4].count_nonzero() == 0 and gradient[..., 5:].count_nonzero() == 0


@pytest.mark.parametrize("box_loss", ["iou", "giou"])
def test_gradcheck(box_loss):
    head, *rest = with_head([2, 1], 9, 32, torch.float64)
    assignment = simota(*(p.detach() for p in decode(head, *rest[:2])), *rest)
    assert assignment.num_fg.sum() >= 3

    def total(head):
        return loss_of(head, *rest, l1=True, box_loss=box_loss, assigner=lambda *scene: assignment).total

    assert torch.autograd.gradcheck(total, head)


@pytest.mark.parametrize("objectness", ["binary", "iou"])
def test_padding_changes_nothing(objectness):
    head, points, strides, gt_boxes, gt_labels, num_gts = with_head([4, 0, 7], 10)
    loss, gradient = value_and_gradient(
        head, points, strides, gt_boxes, gt_labels, num_gts, l1=True, objectness=objectness
    )
    padded_boxes = torch.full((3, 11, 4), math.nan)
    padded_labels = torch.full((3, 11), 99)
    for b, count in enumerate(num_gts):
        padded_boxes[b, :count], padded_labels[b, :count] = gt_boxes[b, :count], gt_labels[b, :count]
    padded_boxes[0, 10] = torch.tensor([64.0, 64, 128, 128])
    padded = value_and_gradient(
        head, points, strides, padded_boxes, padded_labels, num_gts, l1=True, objectness=objectness
    )
    torch.testing.assert_close(padded, (loss, gradient), rtol=0, atol=0)


def test_without_num_gts_all_are_real():
    head, *rest, num_gts = with_head([5, 5], 11)
    torch.testing.assert_close(loss_of(head, *rest, objectness="iou"), loss_of(head, *rest, num_gts, objectness="iou"))


@pytest.mark.parametrize("objectness", ["binary", "iou"])
@pytest.mark.parametrize("num_gts", [None, torch.tensor([0, 0])])
def test_no_objects_at_all(objectness, num_gts):
    head, points, strides, *_ = with_head([0, 0], 12)
    gts = torch.empty(2, 0, 4), torch.empty(2, 0, dtype=torch.int64), num_gts
    loss, gradient = value_and_gradient(head, points, strides, *gts, l1=True, objectness=objectness)
    assert loss.box == loss.cls == loss.l1 == 0 and loss.num_fg.tolist() == [0, 0]
    torch.testing.assert_close(loss.obj, torch.nn.functional.softplus(head[..., 4]).sum())
    assert loss.total == loss.obj and gradient.isfinite().all()
    assert gradient[..., :4].count_nonzero() == 0 and gradient[..., 5:].count_nonzero() == 0


@pytest.mark.parametrize("objectness", ["binary", "iou"])
@pytest.mark.parametrize("box_loss", ["iou", "giou"])
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_predictions_of_the_background_do_not_matter(poison, box_loss, objectness):
    head, *rest = with_head([4, 0, 7], 13)
    clean = *(p.detach() for p in decode(head, *rest[:2])), head[..., :4].detach()
    assignment = simota(*clean[:3], *rest)
    background = assignment.matched_gt < 0
    sick = [t.clone() for t in clean]
    for tensor in (sick[0], sick[1], sick[3]):
        tensor[background] = poison

    def run(pred_boxes, cls_logits, obj_logits, raw_boxes):
        leaves = [t.requires_grad_() for t in (pred_boxes, cls_logits, raw_boxes)]
        options = {"box_loss": box_loss, "objectness": objectness, "assigner": lambda *scene: assignment}
        loss = yolox_loss(pred_boxes, cls_logits, obj_logits, *rest, raw_boxes=raw_boxes, **options)
        return (loss.box, loss.cls, loss.l1), torch.autograd.grad(loss.total, leaves), loss.total

    values, gradients, total = run(*sick)
    assert total.isfinite()
    torch.testing.assert_close((values, gradients), run(*clean)[:2], rtol=0, atol=0)
    for gradient in gradients:
        assert gradient[background].count_nonzero() == 0 and gradient[~background].any(-1).all()
