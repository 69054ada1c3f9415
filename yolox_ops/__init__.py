"""Fused kernels for YOLOX-style detection. Each op's page is yolox_ops/ops/<op>.py.

The ops are registered as torch.ops.yolox_ops.* by this import if torch was imported before, else by the first use of a
name below, or by `import yolox_ops.ops`. So yolox_ops.numpy never waits for torch, and works where there is none.
"""
# ruff: noqa: F403, F405  the names are those of _public.py, as mypy knows

import importlib
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from yolox_ops._public import *

__all__ = [
    "PRESETS",
    "Assignment",
    "Explanation",
    "SimOTACost",
    "SoftNMS",
    "YOLOXLoss",
    "aligned_iou",
    "batched_soft_nms",
    "build_info",
    "dynamic_k_match",
    "explain",
    "ota",
    "pairwise_iou",
    "simota",
    "simota_cost",
    "sinkhorn",
    "soft_nms",
    "yolox_loss",
]


def _import_names() -> None:
    try:
        public = importlib.import_module("yolox_ops._public")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        words = f"all of yolox_ops but yolox_ops.numpy needs torch: {error}"
        raise ModuleNotFoundError(words, name="torch") from error
    globals().update({name: getattr(public, name) for name in __all__})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'yolox_ops' has no attribute {name!r}")
    _import_names()
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if sys.modules.get("torch"):
    _import_names()
