"""Many processes as torchrun starts them; one process is the same with nobody to talk to."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Ranks(NamedTuple):
    """Where this process stands among those of a run."""

    rank: int
    ranks: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.ranks > 1:
            dist.all_reduce(tensor)
        return tensor

    def agree(self, name: str, value: int) -> None:
        """Raises ValueError in every process where a value is not the same in all."""
        values: list[Any] = [value] * self.ranks
        if self.ranks > 1:
            dist.all_gather_object(values, value)
        if len(set(values)) > 1:
            raise ValueError(f"{name} must be the same in all processes, got {values}")

    def share_first(self, module: nn.Module) -> None:
        """Gives every process the first one's parameters and buffers."""
        if self.ranks > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, 0)

    def gather(self, value: object) -> list | None:
        """Each process's value, in the first process; None in the others."""
        if self.ranks == 1:
            return [value]
        values: list | None = [None] * self.ranks if self.first else None
        dist.gather_object(value, values)
        return values

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over all processes."""
        return nn.parallel.DistributedDataParallel(module) if self.ranks > 1 else module


def who() -> str:
    """How an error begins where there are many processes."""
    ranks = os.environ.get("WORLD_SIZE", "1")
    return f"process {os.environ.get('RANK')} of {ranks}: " if ranks != "1" else ""


@contextlib.contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Joins the processes that torchrun started; "cuda" becomes each one's own GPU. Without torchrun there is one.

    Raises:
        ValueError: the environment has WORLD_SIZE, and not all else that torchrun sets.
    """
    ranks, where = _from_environment("WORLD_SIZE", 1), torch.device(device)
    if where.type == "cuda" and where.index is None:
        where = torch.device("cuda", _from_environment("LOCAL_RANK", 0))
    if where.type == "cuda":
        torch.cuda.set_device(where)
    if ranks == 1:
        yield Ranks(0, 1, where)
        return
    for name in ("RANK", "MASTER_PORT"):
        _from_environment(name)
    dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), ranks, where)
    finally:
        dist.destroy_process_group()


def _from_environment(name: str, default: int | None = None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise ValueError(f"{name} must be a number in the environment, as torchrun sets it, got {text!r}")
    return int(text)
