"""mmdetection as PyPI has it, on a machine without a GPU: mmdet, mmengine and mmcv-lite, which is mmcv without its
compiled ops. All of mmdet imports and its YOLOX trains so; prediction needs the compiled NMS."""

import contextlib
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

OLD_SPELLINGS = (
    "`torch.jit.",  # mmengine, on import
    "``MultiScaleDeformableAttention`` has been moved",  # mmcv, of its own module, on import
    "`torch.cuda.amp.autocast",  # SimOTAAssigner and CSPDarknet
    "torch.meshgrid",  # MlvlPointGenerator
)


@contextlib.contextmanager
def old_spellings() -> Iterator[None]:
    """Says nothing of what these versions, older than the torch here, spell in a way that it warns of."""
    with warnings.catch_warnings():
        for message in OLD_SPELLINGS:
            warnings.filterwarnings("ignore", f"\\s*{message}")
        yield


def _compiled_op(name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"mmcv-lite has no compiled {name}")

    return missing


# mmcv.ops looks for every compiled op when it is imported. This module has them all, and none can be called.
_ext = types.ModuleType("mmcv._ext")
_ext.__getattr__ = _compiled_op
sys.modules.setdefault("mmcv._ext", _ext)

with old_spellings():
    import mmdet.models  # registers everything
    from mmdet.registry import MODELS, TASK_UTILS
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmengine.config import Config
    from mmengine.optim import OptimWrapper
    from mmengine.registry import init_default_scope
    from mmengine.structures import InstanceData

    import yolox_ops.integrations.mmdet  # noqa: F401  registers the assigner

__all__ = [
    "PATCH",
    "TASK_UTILS",
    "HorizontalBoxes",
    "InstanceData",
    "OptimWrapper",
    "detector",
    "detector_config",
    "old_spellings",
    "samples",
]
CONFIGS = Path(mmdet.__file__).parent / ".mim/configs/yolox"

# A user's config: mmdet's own, and the lines of docs/mmdet.md.
PATCH = """
custom_imports = dict(imports=["yolox_ops.integrations.mmdet"])
model = dict(train_cfg=dict(assigner=dict(type="YOLOXOpsSimOTAAssigner")))
"""


def detector_config(name: str, folder: Path, patched: bool) -> Config:
    """The config of the wheel, "yolox_s" or another, by itself or with the lines of PATCH; it is written to `folder`.
    Without augmentation, which asks a running Runner for its iteration."""
    path = folder / f"{name}_{patched}.py"
    path.write_text(f"_base_ = {str(CONFIGS / f'{name}_8xb8-300e_coco.py')!r}\n{PATCH if patched else ''}")
    config = Config.fromfile(path)
    config.model.data_preprocessor.batch_augments = None
    return config


def detector(config: Config, seed: int = 0) -> Any:
    """The detector of a config, in training mode."""
    init_default_scope("mmdet")
    torch.manual_seed(seed)
    return MODELS.build(config.model).train()


def samples(images_gts: list[InstanceData], size: int) -> list[DetDataSample]:
    """Labels of square images as detectors take them."""
    meta = {"img_shape": (size, size), "batch_input_shape": (size, size), "pad_shape": (size, size)}
    return [DetDataSample(metainfo=meta, gt_instances=gts) for gts in images_gts]
