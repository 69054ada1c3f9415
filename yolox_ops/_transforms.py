"""How torch's transformations see the ops: gradients, traces, exported programs."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.overrides import handle_torch_function, has_torch_function

P = ParamSpec("P")
R = TypeVar("R")
Results = TypeVar("Results", bound=type)


def as_pytree(results: Results) -> Results:
    """Names a NamedTuple for torch, so that programs that take or return it can be saved: torch.export.save and
    AOTInductor refuse one without a name. Who loads such a program must have imported yolox_ops."""
    pytree._register_namedtuple(results, serialized_type_name=f"yolox_ops.{results.__name__}")
    return results


def traceable(function: Callable[P, R]) -> Callable[P, R]:
    """A public function as torch.fx and torch.jit.trace see it. What stands for a tensor and has __torch_function__, as
    fx's proxies have, takes the call as a whole, as it takes one of torch's own. Checks of shapes are no reason for a
    warning of torch.jit.trace."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        given = (*args, *kwargs.values())
        if has_torch_function(given):
            stand_ins = [value for value in given if not isinstance(value, Tensor)]
            if has_torch_function(stand_ins):
                return handle_torch_function(call, stand_ins, *args, **kwargs)
        if torch.jit.is_tracing():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", torch.jit.TracerWarning)
                return function(*args, **kwargs)
        return function(*args, **kwargs)

    # torch.compile counts recompilations by code object, so each function has its own. mypy takes what functools.wraps
    # returns for an object without code.
    call.__code__ = call.__code__.replace(co_name=function.__name__)  # type: ignore[attr-defined]
    return call


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
