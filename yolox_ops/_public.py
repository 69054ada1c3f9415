"""The public names that need torch, each from its home. yolox_ops/__init__.py hands them out."""

from yolox_ops._library import build_info as build_info
from yolox_ops.assignment import Assignment as Assignment
from yolox_ops.explanation import Explanation as Explanation
from yolox_ops.explanation.explain import explain as explain
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
from yolox_ops.yolox.loss import YOLOXLoss as YOLOXLoss
from yolox_ops.yolox.loss import yolox_loss as yolox_loss
