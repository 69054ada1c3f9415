"""Fused kernels for YOLOX-style detection. Each op's page is yolox_ops/ops/<op>.py.

The ops are registered as torch.ops.yolox_ops.* as soon as this package and torch are both imported, in either order. So
yolox_ops.numpy never waits for torch, and works where there is none.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # what editors and type checkers see: the names of _HOMES
    from yolox_ops._library import build_info as build_info
    from yolox_ops.assignment import Assignment as Assignment
    from yolox_ops.explanation import Explanation as Explanation
    from yolox_ops.explanation.explain import explain as explain
    from yolox_ops.losses import iou_loss as iou_loss
    from yolox_ops.ops.aligned_iou import aligned_iou as aligned_iou
    from yolox_ops.ops.dynamic_k_match import dynamic_k_match as dynamic_k_match
    from yolox_ops.ops.ota import ota as ota
    from yolox_ops.ops.pairwise_iou import pairwise_iou as pairwise_iou
    from yolox_ops.ops.simota import simota as simota
    from yolox_ops.ops.simota_cost import SimOTACost as SimOTACost
    from yolox_ops.ops.simota_cost import simota_cost as simota_cost
    from yolox_ops.ops.sinkhorn import sinkhorn as sinkhorn
    from yolox_ops.ops.soft_nms import SoftNMS as SoftNMS
    from yolox_ops.ops.soft_nms import batched_soft_nms as batched_soft_nms
    from yolox_ops.ops.soft_nms import soft_nms as soft_nms
    from yolox_ops.presets import PRESETS as PRESETS
    from yolox_ops.scene import Scene as Scene
    from yolox_ops.yolox.loss import YOLOXLoss as YOLOXLoss
    from yolox_ops.yolox.loss import yolox_loss as yolox_loss

# The public names, each with its module. All of them need torch.
_HOMES = {
    "build_info": "yolox_ops._library",
    "Assignment": "yolox_ops.assignment",
    "Explanation": "yolox_ops.explanation",
    "explain": "yolox_ops.explanation.explain",
    "iou_loss": "yolox_ops.losses",
    "aligned_iou": "yolox_ops.ops.aligned_iou",
    "dynamic_k_match": "yolox_ops.ops.dynamic_k_match",
    "ota": "yolox_ops.ops.ota",
    "pairwise_iou": "yolox_ops.ops.pairwise_iou",
    "simota": "yolox_ops.ops.simota",
    "SimOTACost": "yolox_ops.ops.simota_cost",
    "simota_cost": "yolox_ops.ops.simota_cost",
    "sinkhorn": "yolox_ops.ops.sinkhorn",
    "SoftNMS": "yolox_ops.ops.soft_nms",
    "batched_soft_nms": "yolox_ops.ops.soft_nms",
    "soft_nms": "yolox_ops.ops.soft_nms",
    "PRESETS": "yolox_ops.presets",
    "Scene": "yolox_ops.scene",
    "YOLOXLoss": "yolox_ops.yolox.loss",
    "yolox_loss": "yolox_ops.yolox.loss",
}
if not TYPE_CHECKING:  # mypy reads no __all__ that is computed
    __all__ = sorted(_HOMES)


def _import_names() -> None:
    try:
        homes = {home: importlib.import_module(home) for home in _HOMES.values()}
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        words = f"all of yolox_ops but yolox_ops.numpy needs torch: {error}"
        raise ModuleNotFoundError(words, name="torch") from error
    globals().update({name: getattr(homes[home], name) for name, home in _HOMES.items()})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'yolox_ops' has no attribute {name!r}")
    _import_names()
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def _is_importing() -> bool:
    """Whether a module of this package is half imported."""
    ours = (module for name, module in list(sys.modules.items()) if name.startswith("yolox_ops."))
    return any(getattr(getattr(module, "__spec__", None), "_initializing", False) for module in ours)


class _AfterTorch(MetaPathFinder):
    """Registers the ops when torch is imported later, for programs that use them by torch.ops alone."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((found for found in others if found), None)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            run(module)
            sys.meta_path.remove(self)
            if _is_importing():  # a module of ours asked for torch, and goes on to the ops itself
                return
            try:
                _import_names()
            except ImportError as error:  # torch itself is as it should be
                warnings.warn(f"yolox_ops does not load: {error}", stacklevel=2)

        # mypy: on this one loader, which goes when torch is there.
        spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec


if sys.modules.get("torch"):
    _import_names()
elif "torch" not in sys.modules:  # None there keeps it from being imported
    sys.meta_path.insert(0, _AfterTorch())
