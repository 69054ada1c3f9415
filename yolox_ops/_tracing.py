"""What lets torch's exporters and tracers see the ops whole."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
import torch.utils._pytree as pytree
from torch import Tensor
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

    return call
