"""Models for tests that need no training, and how near two answers of one model must be."""

import torch
from torch import nn

# What rounding leaves of a network's outputs and gradients, as a share of their norm: 1e-4. Each CPU has kernels of its
# own, and an element that is a small sum of large terms has no digits to hold it to.
NEAR = 1000 * torch.finfo(torch.float32).eps


def check_near(found, expected, bound=NEAR):
    """Every tensor is within `bound` times its norm of the expected one."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert (ours - theirs).double().norm() <= bound * theirs.double().norm()


def trained(model):
    """The model in eval mode, as if trained: no norm is the identity, and the image is seen to the last layer."""
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            gain = 0.3 if name.endswith("layer2.bn") else 1.0  # the sum over Darknet's 23 residuals stays in bounds
            nn.init.uniform_(module.weight, 0.7 * gain, 1.3 * gain)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.7, 1.3)
        elif isinstance(module, nn.Conv2d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model.eval()


def confident(model):
    """`trained`, with scores from 0 to 1 on images from 0 to 255."""
    trained(model)
    for conv in (*model.head.cls_preds, *model.head.obj_preds):
        nn.init.normal_(conv.weight, std=1.0)
        nn.init.zeros_(conv.bias)
    model.backbone.backbone.stem.conv.conv.weight.data /= 64
    return model
