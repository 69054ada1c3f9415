"""Two assigners that take a batch at once: the fast YOLOX loss of super-gradients, which by its own words is not
equivalent to SimOTA, and ultralytics' TaskAlignedAssigner, another algorithm."""

import importlib.util
import logging
import os
import sys
import tempfile
import types
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.megvii import deprecated_autocast
from benchmarks.scenes import corners
from yolox_ops import Assignment


def import_fast_loss() -> type:
    """YoloXFastDetectionLoss from its file. The package around it wants years-old pins; of that the file takes five
    names, of which the matching calls none: stand-ins have them while it loads."""
    root = importlib.util.find_spec("super_gradients")
    if root is None or root.origin is None:
        raise ModuleNotFoundError("super-gradients is not installed")
    names: dict[str, dict[str, Any]] = {
        "common.object_names": {"Losses": types.SimpleNamespace(YOLOX_LOSS="", YOLOX_FAST_LOSS="")},
        "common.registry.registry": {"register_loss": lambda *args, **kwargs: lambda loss: loss},
        "common.abstractions.abstract_logger": {"get_logger": logging.getLogger},
        "training.utils": {"torch_version_is_greater_or_equal": lambda *version: True},
        "training.utils.detection_utils": {"calculate_bbox_iou_matrix": None},
    }
    modules = {"super_gradients": types.ModuleType("super_gradients")}
    for path, content in names.items():
        parts = path.split(".")
        for i in range(1, len(parts) + 1):
            name = ".".join(["super_gradients", *parts[:i]])
            modules.setdefault(name, types.ModuleType(name))
        vars(modules[f"super_gradients.{path}"]).update(content)
    file = os.path.join(os.path.dirname(root.origin), "training/losses/yolox_loss.py")
    spec = importlib.util.spec_from_file_location("super_gradients_yolox_loss", file)
    loss = importlib.util.module_from_spec(spec)
    sys.modules |= modules
    try:
        spec.loader.exec_module(loss)
    finally:
        for name in modules:
            del sys.modules[name]
    return loss.YoloXFastDetectionLoss


class SuperGradients:
    """The matching of that loss; prepare once with the arguments of simota, then time `run`."""

    def __init__(
        self,
        pred_boxes: Tensor,  # [B, N, 4]
        cls_logits: Tensor,  # [B, N, C]
        obj_logits: Tensor,  # [B, N]
        anchor_points: Tensor,  # [N, 2]
        strides: Tensor,  # [N]
        gt_boxes: Tensor,  # [B, G, 4]
        gt_labels: Tensor,  # [B, G]
        num_gts: Tensor,  # [B]
    ) -> None:
        self.loss = import_fast_loss()(strides=strides.unique().tolist(), num_classes=cls_logits.shape[-1])
        x, y = (anchor_points / strides[:, None] - 0.5).unbind(-1)
        real = torch.arange(gt_boxes.shape[1]) < num_gts[:, None]
        self.image, self.row = real.nonzero(as_tuple=True)
        labels = torch.cat([self.image[:, None], gt_labels[real][:, None], gt_boxes[real]], 1)
        self.args = pred_boxes, cls_logits, obj_logits[..., None], strides[None], x[None], y[None], labels

    @torch.no_grad()
    def run(self) -> tuple:
        with deprecated_autocast():
            return self.loss._compute_matching(*self.args)

    def assignment(self) -> Assignment:
        """`run` in the form of yolox_ops, to count on how many anchors it differs."""
        anchor, _, gt, image, iou, _ = self.run()
        matched_gt = torch.full(self.args[0].shape[:2], -1)
        matched_iou = torch.zeros(self.args[0].shape[:2])
        matched_gt[image, anchor] = self.row[gt]
        matched_iou[image, anchor] = iou
        return Assignment(matched_gt, matched_iou, (matched_gt >= 0).sum(1))


class TaskAligned:
    """ultralytics' TaskAlignedAssigner as its detectors call it: 10 anchors an object, alpha 0.5, beta 6. It ranks by
    score and CIoU within the box, so there is nothing to compare but the time."""

    def __init__(
        self,
        pred_boxes: Tensor,  # [B, N, 4]
        cls_logits: Tensor,  # [B, N, C]
        obj_logits: Tensor,  # [B, N]
        anchor_points: Tensor,  # [N, 2]
        strides: Tensor,  # [N]
        gt_boxes: Tensor,  # [B, G, 4]
        gt_labels: Tensor,  # [B, G]
        num_gts: Tensor,  # [B]
    ) -> None:
        # It writes settings when it is imported, and asks whether there is a network unless told that there is none.
        os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp())
        os.environ.setdefault("YOLO_OFFLINE", "true")
        from ultralytics.utils.tal import TaskAlignedAssigner

        self.assigner = TaskAlignedAssigner(topk=10, num_classes=cls_logits.shape[-1], alpha=0.5, beta=6.0)
        real = torch.arange(gt_boxes.shape[1]) < num_gts[:, None]
        scores = cls_logits.sigmoid() * obj_logits.sigmoid()[..., None]
        boxes = corners(gt_boxes) * real[..., None]
        self.args = scores, corners(pred_boxes), anchor_points, gt_labels[..., None], boxes, real[..., None]

    @torch.no_grad()
    def run(self) -> tuple:
        """target_labels, target_bboxes, target_scores, fg_mask, target_gt_idx."""
        return self.assigner(*self.args)
