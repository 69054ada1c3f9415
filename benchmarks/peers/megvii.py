"""Other people's implementations of the same rules, as PyPI has them, called through one signature."""

import contextlib
import importlib
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.torchvision_ops import import_torchvision, installed
from yolox_ops import Assignment


def import_head() -> type:
    """YoloxHead of pixeltable-yolox, whose get_assignments is Megvii's. Its package imports torchvision, which does not
    load beside a CPU build of torch by itself and which the assigner never calls: where it is not installed, an empty
    module stands in."""
    if installed():
        import_torchvision()
    torchvision, ops = types.ModuleType("torchvision"), types.ModuleType("torchvision.ops")
    torchvision.ops = ops
    torchvision.__spec__ = importlib.machinery.ModuleSpec("torchvision", None)
    sys.modules.setdefault("torchvision", torchvision)
    sys.modules.setdefault("torchvision.ops", ops)
    from yolox.models.yolo_head import YoloxHead

    return YoloxHead


def import_release_head() -> type:
    """YOLOXHead of the package yolox 0.3.0, which goes by the import name of pixeltable-yolox: its file is loaded from
    where the Makefile put it, under another name. What it imports of yolox.utils is the same in both."""
    import_head()
    folder = Path(__file__).parents[2] / "build/peers/yolox-0.3.0/yolox/models"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing: `make peers` puts it there")
    package = types.ModuleType("yolox_release")
    package.__path__ = [str(folder)]
    sys.modules.setdefault("yolox_release", package)
    return importlib.import_module("yolox_release.yolo_head").YOLOXHead


def megvii_config(name: str, num_classes: int = 80) -> Any:
    """The model and recipe of pixeltable-yolox, a YoloxConfig; `name` as in yolox_ops.yolox.MODELS."""
    head = import_head()
    from yolox.config import YoloxConfig
    from yolox.models import YoloFpn, YoloxModule

    if name == "yolox_darknet53":  # no named config: Megvii's exps/default/yolov3.py
        config = YoloxConfig(name, num_classes=num_classes)
        config.model = YoloxModule(YoloFpn(), head(num_classes, in_channels=[128, 256, 512], act="lrelu"))
    else:
        config = YoloxConfig.get_named_config(name)
        config.num_classes = num_classes
    return config


def megvii_model(name: str, num_classes: int = 80) -> torch.nn.Module:
    """The whole model of pixeltable-yolox, in training mode; `name` as in yolox_ops.yolox.MODELS."""
    return megvii_config(name, num_classes).get_model()


def megvii_data() -> types.ModuleType:
    """The package yolox.data of pixeltable-yolox: its augmentations."""
    import_head()
    import yolox.data

    return yolox.data


@contextlib.contextmanager
def deprecated_autocast() -> Iterator[None]:
    """Its spelling of autocast makes torch warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def megvii_coco(path: Path, size: tuple[int, int]) -> Any:
    """pixeltable-yolox's data set of a JSON beside its images; boxes are scaled to images of `size` (height, width)."""
    import_head()
    from yolox.data.datasets.coco import CocoDataset

    return CocoDataset(str(path.parent), str(path), ".", size)


class Megvii:
    """The per-image loop of Megvii YOLOX over a batch; prepare once, then call and time `run` or `losses`."""

    def __init__(
        self,
        pred_boxes: Tensor,  # [B, N, 4] cxcywh
        cls_logits: Tensor,  # [B, N, C]
        obj_logits: Tensor,  # [B, N]
        anchor_points: Tensor,  # [N, 2]
        strides: Tensor,  # [N]
        gt_boxes: Tensor,  # [B, G, 4] cxcywh
        gt_labels: Tensor,  # [B, G]
        num_gts: Tensor,  # [B]
        *,
        release: bool = False,
    ) -> None:
        """With `release` it is the head of the package yolox 0.3.0, else pixeltable-yolox's."""
        self.head = (import_release_head() if release else import_head())(num_classes=cls_logits.shape[-1])
        self.release = release
        shifts = anchor_points / strides[:, None] - 0.5
        self.anchors = strides[None], shifts[None, :, 0], shifts[None, :, 1]
        self.pred_boxes, self.cls_logits, self.obj_logits = pred_boxes, cls_logits, obj_logits[..., None]
        self.gts = [
            (boxes[:count], labels[:count].float())
            for boxes, labels, count in zip(gt_boxes, gt_labels, num_gts.tolist(), strict=True)
        ]
        real = torch.arange(gt_boxes.shape[1], device=num_gts.device) < num_gts[:, None]
        self.labels = torch.where(real[..., None], torch.cat([gt_labels[..., None], gt_boxes], -1), 0)

    @torch.no_grad()
    def run(self) -> list:
        """get_assignments of every image that has objects, None for the others, as get_losses does it."""
        with deprecated_autocast():
            return [self._assign(b, *gts) if len(gts[0]) else None for b, gts in enumerate(self.gts)]

    def _assign(self, b: int, boxes: Tensor, labels: Tensor) -> tuple:
        preds = self.pred_boxes[b], *self.anchors, self.cls_logits
        if self.release:
            anchors = self.pred_boxes.shape[1]
            rest = self.pred_boxes, self.obj_logits, self.labels, None
            return self.head.get_assignments(b, len(boxes), anchors, boxes, labels, *preds, *rest)
        return self.head.get_assignments(b, len(boxes), boxes, labels, *preds, self.obj_logits)

    def losses(
        self, pred_boxes: Tensor, cls_logits: Tensor, obj_logits: Tensor, raw_boxes: Tensor | None = None
    ) -> tuple:
        """get_losses of these predictions, assignment included: (total, 5 box, obj, cls, l1, positives per object).
        raw_boxes, [B, N, 4] as the head gives them, turn the L1 term on."""
        strides, x, y = self.anchors
        outputs = torch.cat([pred_boxes, obj_logits[..., None], cls_logits], -1)
        self.head.use_l1 = raw_boxes is not None
        with deprecated_autocast():
            return self.head.get_losses(None, [x], [y], [strides], self.labels, outputs, [raw_boxes], outputs.dtype)

    def assignment(self) -> Assignment:
        """`run` in the form of yolox_ops."""
        B, N = self.pred_boxes.shape[:2]
        matched_gt = torch.full((B, N), -1)
        matched_iou = torch.zeros(B, N)
        for b, answer in enumerate(self.run()):
            if answer is not None:
                _, fg_mask, ious, gts, _ = answer
                matched_gt[b, fg_mask] = gts
                matched_iou[b, fg_mask] = ious
        return Assignment(matched_gt, matched_iou, (matched_gt >= 0).sum(1))
