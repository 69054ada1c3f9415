"""Megvii's heads, and batches as they see them."""

import pytest
import torch
from torch import nn

from benchmarks.peers import megvii as peers
from benchmarks.scenes import scene, undecoded
from yolox_ops.integrations import megvii

CLASSES = 6
HEADS = {"yolox": peers.import_head, "yolox-0.3": peers.import_release_head}
each_head = pytest.mark.parametrize("release", [False, True], ids=HEADS)


def head_of(release: bool) -> nn.Module:
    return HEADS["yolox-0.3" if release else "yolox"]()(CLASSES)


def arguments(counts, seed=0, dtype=torch.float32):
    """Those of get_losses: a batch of images of 128 x 128 pixels, predictions that want gradients."""
    pred_boxes, cls_logits, obj_logits, points, strides, gt_boxes, gt_labels, num_gts = scene(
        counts, CLASSES, 128, seed
    )
    raw_boxes = undecoded(pred_boxes, points, strides).to(dtype).requires_grad_()
    outputs = torch.cat([pred_boxes, obj_logits[..., None], cls_logits], -1).to(dtype).requires_grad_()
    real = torch.arange(gt_boxes.shape[1]) < num_gts[:, None]
    labels = torch.where(real[..., None], torch.cat([gt_labels[..., None].float(), gt_boxes], -1), 0)
    shifts = (points / strides[:, None] - 0.5).to(dtype)
    levels = [(strides == s).nonzero()[:, 0] for s in strides.unique()]
    x, y, steps = ([t[None, level].to(dtype) for level in levels] for t in (*shifts.T, strides))
    return None, x, y, steps, labels, outputs, [raw_boxes[:, level] for level in levels], dtype


def own_get_losses(head):
    """By the head's own code, patched or not."""
    own = next(kind for kind in type(head).__mro__ if vars(kind).get("get_losses") not in (None, megvii.get_losses))
    return own.get_losses.__get__(head)


def losses(head, args, own=False):
    """The six returns of get_losses and the gradients of the predictions; `own`: by the head's own code."""
    find = own_get_losses(head) if own else head.get_losses
    with peers.deprecated_autocast():
        found = find(*args)
    wanted = (args[5], *args[6])
    return found, torch.autograd.grad(found[0], wanted, allow_unused=True, retain_graph=True)


def check_equal(ours, theirs, rtol=1e-4):
    for mine, own in zip(ours[0], theirs[0], strict=True):
        torch.testing.assert_close(torch.as_tensor(mine), torch.as_tensor(own).float(), rtol=rtol, atol=1e-6)
    for mine, own in zip(ours[1], theirs[1], strict=True):
        assert (mine is None) == (own is None)
        if own is not None:
            torch.testing.assert_close(mine, own, rtol=rtol, atol=rtol * own.abs().max().item())
