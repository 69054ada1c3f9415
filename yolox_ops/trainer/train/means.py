"""Mean losses of the steps between two reports."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from yolox_ops.trainer.train.ranks import Ranks

LOSSES = ("total", "box", "obj", "cls", "l1")


class Means(NamedTuple):
    """What a report says of the steps before it.

    Attributes:
        losses: of all processes, in the order of LOSSES; NaN where every step was skipped.
        positives_per_gt: anchors that an object got.
        skipped: steps that are not in the means.
    """

    losses: list[float]
    positives_per_gt: float
    skipped: int


class Sums:
    """What was added since it was taken."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks, self.steps, self.skipped = ranks, 0, 0
        self.sums = torch.zeros(len(LOSSES) + 2, device=ranks.device)

    def add(self, sums: Tensor) -> None:
        """Losses, positives and objects of a step of this process, [7], on its device."""
        self.sums += sums
        self.steps += 1

    def take(self) -> Means:
        *losses, positives, objects = self.ranks.sum(self.sums).tolist()
        steps = self.steps * self.ranks.ranks
        means = [loss / steps if steps else math.nan for loss in losses]
        found = Means(means, positives / max(objects, 1), self.skipped)
        self.sums.zero_()
        self.steps = self.skipped = 0
        return found
