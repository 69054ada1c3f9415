"""The same call as a program of torch.export, saved and loaded: the answer and its type must be the same."""

import io
from dataclasses import replace
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import nn

from fuzz.call import Call, is_plain
from fuzz.invariants import require


class _Program(nn.Module):
    """A call as a module of its tensors."""

    def __init__(self, call: Call, run: Any) -> None:
        super().__init__()
        self.call, self.run = call, run
        self.names = [name for name, value in call.arguments.items() if value is not None]

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.run(
            replace(self.call, arguments={**self.call.arguments, **dict(zip(self.names, tensors, strict=True))})
        )


def check_node(answer: Any) -> None:
    """A NamedTuple is a node that can be written down and read."""
    leaves, spec = pytree.tree_flatten(answer)
    again = pytree.tree_unflatten(leaves, pytree.treespec_loads(pytree.treespec_dumps(spec)))
    require(type(again) is type(answer), f"a node that comes back as {type(again).__name__}")


def can_be_exported(call: Call) -> bool:
    return call.op.room == "yolox_ops" and all(v is None or is_plain(v) for v in call.arguments.values())


def check_exported(call: Call, answer: Any, run: Any) -> None:
    program = _Program(call, run)
    tensors = tuple(call.arguments[name].detach().clone() for name in program.names)
    file = io.BytesIO()
    torch.export.save(torch.export.export(program, tensors), file)
    file.seek(0)
    found = torch.export.load(file).module()(*tensors)
    require(type(found) is type(answer), f"an exported program answers with {type(found).__name__}")
    for ours, exported in zip(pytree.tree_leaves(answer), pytree.tree_leaves(found), strict=True):
        same = torch.equal(ours.detach().nan_to_num(nan=-7.0), exported.detach().nan_to_num(nan=-7.0))
        require(same and ours.dtype == exported.dtype, "an exported program answers something else")
