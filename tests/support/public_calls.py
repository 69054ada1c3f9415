"""A call of every public function on tensors, as a module, which is what torch exports."""

import torch
from torch import nn

import yolox_ops
from yolox_ops.yolox.assigners import center

B, N, G, C = 2, 40, 3, 5


def make_scene() -> yolox_ops.Scene:
    points = torch.rand(N, 2) * 64
    return yolox_ops.Scene(
        torch.cat([points.expand(B, N, 2), torch.rand(B, N, 2) * 30 + 1], -1),
        torch.randn(B, N, C),
        torch.randn(B, N),
        points,
        torch.full((N,), 8.0),
        torch.rand(B, G, 4) * 30 + 10,
        torch.randint(0, C, (B, G)),
        torch.tensor([2, 3]),
    )


def make_detections() -> tuple[torch.Tensor, ...]:
    corner = torch.rand(N, 2) * 30
    return torch.cat([corner, corner + torch.rand(N, 2) * 20], -1), torch.rand(N), torch.randint(0, 3, (N,))


class Call(nn.Module):
    """A public function as a module; `forward` has named arguments, as torch.fx needs them."""

    def __init__(self, function, **options):
        super().__init__()
        self.function = function
        self.options = options


class OfBoxes(Call):
    def forward(self, boxes1, boxes2):
        return self.function(boxes1, boxes2, **self.options)


class OfThree(Call):
    def forward(self, a, b, c):
        return self.function(a, b, c, **self.options)


class OfScene(Call):
    def forward(self, pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts):
        grid = (anchor_points, strides, gt_boxes, gt_labels, num_gts)
        if self.function is yolox_ops.ota:
            return self.function(pred_boxes, cls_logits, *grid, obj_logits=obj_logits, **self.options)
        return self.function(pred_boxes, cls_logits, obj_logits, *grid, **self.options)


def make_case(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    boxes, scores, labels = make_detections()
    batch = boxes[None], scores[None], labels[None]
    return {
        "pairwise_iou": lambda: (OfBoxes(yolox_ops.pairwise_iou, kind="giou"), (boxes, boxes[:7])),
        "aligned_iou": lambda: (OfBoxes(yolox_ops.aligned_iou, kind="ciou"), (boxes, boxes.flip(0))),
        "iou_loss": lambda: (OfBoxes(yolox_ops.iou_loss, kind="diou", reduction="mean"), (boxes, boxes.flip(0))),
        "simota_cost": lambda: (OfScene(yolox_ops.simota_cost), tuple(make_scene())),
        "simota": lambda: (OfScene(yolox_ops.simota, topk=5), tuple(make_scene())),
        "ota": lambda: (OfScene(yolox_ops.ota), tuple(make_scene())),
        "center": lambda: (OfScene(center), tuple(make_scene())),
        "yolox_loss": lambda: (OfScene(yolox_ops.yolox_loss), tuple(make_scene())),
        "dynamic_k_match": lambda: (
            OfThree(yolox_ops.dynamic_k_match),
            (torch.rand(B, G, N), torch.rand(B, G, N), torch.tensor([3, 1])),
        ),
        "sinkhorn": lambda: (OfThree(yolox_ops.sinkhorn), (torch.rand(B, G, N), torch.ones(B, G), torch.ones(B, N))),
        "soft_nms": lambda: (OfThree(yolox_ops.soft_nms, method="hard"), (boxes, scores, labels)),
        "batched_soft_nms": lambda: (OfThree(yolox_ops.batched_soft_nms, max_detections=10), batch),
    }[name]()


NAMES = (
    *("pairwise_iou", "aligned_iou", "iou_loss", "simota_cost", "simota", "ota", "center", "yolox_loss"),
    *("dynamic_k_match", "sinkhorn", "soft_nms", "batched_soft_nms"),
)
