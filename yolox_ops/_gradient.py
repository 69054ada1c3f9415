"""The gradient rule that the two IoU ops share: their backward is an op of its own beside the forward."""

from typing import Any

import torch
from torch import Tensor


def register_box_gradient(op: str) -> None:
    """Makes yolox_ops::<op>(boxes1, boxes2, fmt, kind) differentiable through yolox_ops::<op>_backward."""
    backward_op = getattr(torch.ops.yolox_ops, f"{op}_backward").default

    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, str, str], output: Tensor) -> None:
        boxes1, boxes2, ctx.fmt, ctx.kind = inputs
        ctx.save_for_backward(boxes1, boxes2)

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad1, grad2 = backward_op(grad, *ctx.saved_tensors, ctx.fmt, ctx.kind)
        return grad1, grad2, None, None

    def no_second_order(ctx: Any, *grads: Tensor) -> None:
        raise NotImplementedError(f"yolox_ops.{op} has a first derivative only")

    torch.library.register_autograd(f"yolox_ops::{op}", backward, setup_context=setup_context)
    torch.library.register_autograd(f"yolox_ops::{op}_backward", no_second_order)
