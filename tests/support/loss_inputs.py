"""What a head may give to the loss: the inputs of the tests of yolox_loss, and the loss of one."""

import torch

from benchmarks.scenes import scene, undecoded
from yolox_ops import yolox_loss

CLASSES = 6


def with_head(counts, seed=0, size=128, dtype=torch.float32):
    """A head's output and its targets as (head, points, strides, gts, labels, num_gts), where head [B, N, 4 + 1 + C] is
    raw box, objectness, classes."""
    pred_boxes, cls_logits, obj_logits, points, strides, *gts = scene(counts, CLASSES, size, seed)
    raw_boxes = undecoded(pred_boxes, points, strides)
    head = torch.cat([raw_boxes, obj_logits[..., None], cls_logits], -1).to(dtype)
    return head.requires_grad_(), points, strides, *gts


def decode(head, points, strides):
    """The three predictions that a head gives to the loss."""
    stride = strides[:, None]
    centre = (head[..., :2] + points / stride - 0.5) * stride
    return torch.cat([centre, torch.exp(head[..., 2:4]) * stride], -1), head[..., 5:], head[..., 4]


def loss_of(head, points, strides, *gts, l1=False, **options):
    raw_boxes = head[..., :4] if l1 else None
    return yolox_loss(*decode(head, points, strides), points, strides, *gts, raw_boxes=raw_boxes, **options)


def value_and_gradient(head, *rest, **options):
    loss = loss_of(head, *rest, **options)
    (gradient,) = torch.autograd.grad(loss.total, head)
    return loss, gradient
