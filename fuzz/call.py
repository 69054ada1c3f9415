"""A call: an entry point, its arguments and its options."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from fuzz.contracts import Op


def is_plain(value: Any) -> bool:
    """Whether it has strides and memory."""
    if isinstance(value, torch.Tensor):
        return value.layout == torch.strided and value.device.type == "cpu" and not value.is_neg()
    return isinstance(value, np.ndarray)


@dataclass
class Call:
    op: Op
    arguments: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    tame: bool = True  # whether float32 is exact enough for python_ref
    bytes: dict[str, Any] = field(default_factory=dict)  # what fuzz/calls.py saw behind arguments

    def __str__(self) -> str:
        lines = [self.op.name]
        for name, value in self.arguments.items():
            if not is_plain(value):
                lines.append(f"  {name}: {value!r}")
                continue
            where = f"strides {value.stride()}" if isinstance(value, torch.Tensor) else f"strides {value.strides}"
            content = value.tolist() if math.prod(value.shape) <= 2000 else "..."
            lines.append(f"  {name}: {list(value.shape)} {value.dtype}, {where}, {content}")
        return "\n".join([*lines, *(f"  {name} = {value!r}" for name, value in self.options.items())])
