"""Fused kernels for YOLOX-style detection. Each op's page is yolox_ops/ops/<op>.py."""

__version__ = "0.1.0"

from yolox_ops._explain import explain
from yolox_ops._library import build_info, register_cuda
from yolox_ops.assignment import Assignment
from yolox_ops.explanation import Explanation
from yolox_ops.ops.aligned_iou import aligned_iou
from yolox_ops.ops.dynamic_k_match import dynamic_k_match
from yolox_ops.ops.pairwise_iou import pairwise_iou
from yolox_ops.ops.simota import simota
from yolox_ops.ops.simota_cost import SimOTACost, simota_cost
from yolox_ops.ops.soft_nms import SoftNMS, batched_soft_nms, soft_nms
from yolox_ops.presets import PRESETS
from yolox_ops.yolox.loss import YOLOXLoss, yolox_loss

register_cuda()

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
    "pairwise_iou",
    "simota",
    "simota_cost",
    "soft_nms",
    "yolox_loss",
]
