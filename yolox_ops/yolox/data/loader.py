"""The way from samples to batches that training and evaluation share."""

from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader


def loader(dataset: torch.utils.data.Dataset, workers: int, **options: Any) -> DataLoader:
    """A DataLoader with `workers` processes, or none; from then on OpenCV has no threads of its own in this process.

    Workers are forked, and one that inherits OpenCV's threads waits for them for ever; workers are the parallelism
    anyway. The loader draws from a generator of its own, so that neither it nor a loader more changes torch's.
    """
    cv2.setNumThreads(0)
    return DataLoader(dataset, num_workers=workers, generator=torch.Generator(), **options)
