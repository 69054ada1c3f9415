"""What a program may have set for its whole process, as contexts by name."""

import contextlib

import torch


@contextlib.contextmanager
def changed(name, value):
    """A setting of the process."""
    before = getattr(torch, f"get_{name}")()
    getattr(torch, f"set_{name}")(value)
    try:
        yield
    finally:
        getattr(torch, f"set_{name}")(before)


@contextlib.contextmanager
def deterministic(level):
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode(level)
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


SETTINGS = {
    "meta": lambda: torch.device("meta"),
    "meta_for_ever": lambda: changed("default_device", "meta"),
    "half": lambda: changed("default_dtype", torch.float16),
    "bfloat16": lambda: changed("default_dtype", torch.bfloat16),
    "double": lambda: changed("default_dtype", torch.float64),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "deterministic": lambda: deterministic(2),
    "warned": lambda: deterministic(1),
}
