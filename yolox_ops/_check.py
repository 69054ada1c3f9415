"""Checks of tensors and modules; those of numbers, choices and shapes, which need no torch, are in _arguments.py."""

import torch
from torch import Tensor, nn

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # which torch can store and convert, and little else
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, *_UNSIGNED)


def check_tensor(name: str, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")


def check_float(name: str, tensor: Tensor) -> None:
    check_tensor(name, tensor)
    if tensor.dtype not in _FLOATS:
        raise TypeError(f"{name} must be float32, float64, float16 or bfloat16, got {tensor.dtype}")


def check_integer(name: str, tensor: Tensor) -> None:
    check_tensor(name, tensor)
    if tensor.dtype not in _INTEGERS:
        raise TypeError(f"{name} must be an integer tensor, got {tensor.dtype}")


def computable(integers: Tensor) -> Tensor:
    """The same integers in a dtype that torch computes with; of uint64 what is larger is the largest int64."""
    if integers.dtype not in _UNSIGNED:
        return integers
    wide = integers.long()
    return torch.where(wide < 0, torch.iinfo(torch.int64).max, wide) if integers.dtype == torch.uint64 else wide


def check_same_device(first_name: str, first: Tensor, **others: Tensor | None) -> None:
    for name, tensor in others.items():
        if tensor is not None and tensor.device != first.device:
            raise ValueError(f"{name} must be on the device of {first_name}, got {tensor.device} and {first.device}")


def check_eval(name: str, model: nn.Module) -> None:
    if model.training:
        raise ValueError(f"{name} must be in eval mode, got training mode")


def wide_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype that arithmetic runs in: float64 if an input is float64, else float32."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
