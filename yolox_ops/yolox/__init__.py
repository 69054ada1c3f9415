"""A thin YOLOX: models whose state dicts are Megvii's, key by key, their detections and their losses."""

from yolox_ops.yolox.anchors import anchor_grid
from yolox_ops.yolox.checkpoint import Settings, load_checkpoint, open_model
from yolox_ops.yolox.detections import Detections, detect
from yolox_ops.yolox.head import Predictions
from yolox_ops.yolox.model import (
    MODELS,
    YOLOX,
    yolox_darknet53,
    yolox_l,
    yolox_m,
    yolox_nano,
    yolox_s,
    yolox_tiny,
    yolox_x,
)
from yolox_ops.yolox.targets import Targets

__all__ = [
    "MODELS",
    "YOLOX",
    "Detections",
    "Predictions",
    "Settings",
    "Targets",
    "anchor_grid",
    "detect",
    "load_checkpoint",
    "open_model",
    "yolox_darknet53",
    "yolox_l",
    "yolox_m",
    "yolox_nano",
    "yolox_s",
    "yolox_tiny",
    "yolox_x",
]
