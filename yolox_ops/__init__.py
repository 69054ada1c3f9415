"""Fused kernels for YOLOX-style detection. Each op's page is yolox_ops/ops/<op>.py."""

__version__ = "0.1.0"

from yolox_ops._library import build_info
from yolox_ops.ops.aligned_iou import aligned_iou
from yolox_ops.ops.pairwise_iou import pairwise_iou

__all__ = ["aligned_iou", "build_info", "pairwise_iou"]
