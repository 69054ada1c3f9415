"""Time that counts what a device does."""

import time

import torch


def now(device: torch.device) -> float:
    """Seconds, once what the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
