"""The gradient rule that the two IoU ops share: their backward is an op of its own beside the forward."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual


class _BackwardOnly(torch.library.Library):
    """Registers gradients that refuse forward mode, which torch would answer with tangents of 0."""

    def impl(self, op_name: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        def without_tangents(keyset: Any, *inputs: Any) -> Any:
            for tensor in inputs[:-2]:  # the last are fmt and kind
                if unpack_dual(tensor).tangent is not None:
                    raise NotImplementedError(f"yolox_ops.{op_name} has a derivative in backward mode only")
            return fn(keyset, *inputs)

        super().impl(op_name, without_tangents, *args, **kwargs)


_LIBRARY = _BackwardOnly("yolox_ops", "FRAGMENT")  # what it registers goes when it goes


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

    torch.library.register_autograd(f"yolox_ops::{op}", backward, setup_context=setup_context, lib=_LIBRARY)
    torch.library.register_autograd(f"yolox_ops::{op}_backward", no_second_order, lib=_LIBRARY)
