"""Problems that repeat a small one until they are large, and whether an answer repeats the small one's."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

MANY = 2**31
AT_ONCE = 2**24  # elements that are compared at once
CASES: dict[str, Callable[[], object]] = {}


def case(function: Callable[[], object]) -> Callable[[], object]:
    CASES[function.__name__] = function
    return function


def enough(elements: int) -> int:
    """How often to repeat so many for some of the copies to begin beyond 2^31."""
    return (MANY + MANY // 32) // elements


def repeated(small: Tensor, count: int) -> Tensor:
    return small.repeat(count, *(1 for _ in small.shape[1:]))


def check_repeats(large: Tensor | np.ndarray, small: Tensor | np.ndarray) -> None:
    """Whether the first dimension repeats `small`, bit for bit."""
    found, wanted = torch.as_tensor(large), torch.as_tensor(small)
    copies = max(1, AT_ONCE // wanted.numel())
    wanted = repeated(wanted, copies)
    for number, part in enumerate(found.split(len(wanted))):
        same = part == wanted[: len(part)]
        assert same.all(), f"rows from {number * len(wanted)}: {(~same).sum()} of {same.numel()} differ"


def check_close(found: Tensor, wanted: Iterable, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(
        found.double(), torch.tensor(wanted, dtype=torch.float64), rtol=tolerance, atol=tolerance
    )
