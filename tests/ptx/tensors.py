"""What kernels see of torch: the memory of tensors that are alive."""

import ctypes
import functools
from collections.abc import Iterable

import torch
from torch.utils._pytree import tree_leaves

from tests.ptx.build import OUTPUT
from tests.ptx.simulator import KnownMemory, Simulator, library


@functools.cache
def simulator() -> Simulator:
    """The process's. From the first call on, torch's allocator tells it of every tensor."""
    library()
    ctypes.CDLL(str(OUTPUT / "liballocator.so"))
    return Simulator()


def memory_of(values: object) -> KnownMemory:
    """The storages of all tensors among the values: of those that torch allocated before, or did not allocate."""
    tensors: Iterable[torch.Tensor] = (leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))
    storages = [tensor.untyped_storage() for tensor in tensors]
    return KnownMemory([(storage.data_ptr(), storage.nbytes()) for storage in storages])
