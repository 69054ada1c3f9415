"""The way from samples to batches that training and evaluation share."""

import ctypes
import functools
import os
import signal
import sys
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

PR_SET_PDEATHSIG = 1  # of Linux's prctl


def loader(dataset: torch.utils.data.Dataset, workers: int, **options: Any) -> DataLoader:
    """A DataLoader with `workers` processes, or none; from then on OpenCV has no threads of its own in this process.

    Workers are forked, and one that inherits OpenCV's threads waits for them for ever; workers are the parallelism
    anyway. The loader draws from a generator of its own, so that neither it nor a loader more changes torch's.
    """
    cv2.setNumThreads(0)
    tie = functools.partial(_tie_to, os.getpid())
    return DataLoader(dataset, num_workers=workers, generator=torch.Generator(), worker_init_fn=tie, **options)


def _tie_to(parent: int, worker: int) -> None:
    """Ends a worker with its parent. torch's own look after the parent begins later, and one that was killed before is
    waited for for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
