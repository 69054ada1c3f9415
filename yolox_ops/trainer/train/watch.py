"""What an assigner takes and gives in training."""

from collections.abc import Callable

import torch
from torch import Tensor

from yolox_ops.assignment import Assignment
from yolox_ops.trainer.clock import now


class Watched:
    """An assigner for a Trainer, with notes of each call. On a GPU the host waits before and after it.

    Attributes:
        seconds: what each call took.
        counts: [2] int64 of each call, on its device: positives, and ground truths without padding.
    """

    def __init__(self, assigner: Callable[..., Assignment]) -> None:
        self.assigner = assigner
        self.seconds: list[float] = []
        self.counts: list[Tensor] = []

    def __call__(self, *scene: Tensor) -> Assignment:
        start = now(scene[0].device)
        assignment = self.assigner(*scene)
        self.seconds.append(now(scene[0].device) - start)
        self.counts.append(torch.stack([assignment.num_fg.sum(), scene[-1].sum()]))
        return assignment

    def positives_per_gt(self, epochs: int) -> list[float]:
        """All positives of an epoch by all its ground truths, 0 where it has none, for epochs of equally many calls."""
        counts = torch.stack(self.counts).view(epochs, -1, 2).sum(1)
        return [positives / max(objects, 1) for positives, objects in counts.tolist()]
