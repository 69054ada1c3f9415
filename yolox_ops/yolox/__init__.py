"""A thin YOLOX: models whose state dicts are Megvii's, key by key."""

from yolox_ops.yolox.anchors import anchor_grid
from yolox_ops.yolox.checkpoint import load_checkpoint
from yolox_ops.yolox.model import (
    MODELS,
    YOLOX,
    Predictions,
    yolox_darknet53,
    yolox_l,
    yolox_m,
    yolox_nano,
    yolox_s,
    yolox_tiny,
    yolox_x,
)

__all__ = [
    "MODELS",
    "YOLOX",
    "Predictions",
    "anchor_grid",
    "load_checkpoint",
    "yolox_darknet53",
    "yolox_l",
    "yolox_m",
    "yolox_nano",
    "yolox_s",
    "yolox_tiny",
    "yolox_x",
]
