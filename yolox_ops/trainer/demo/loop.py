"""SimOTA as a plain PyTorch loop over images and gts, as it is commonly written: what the fused op is held against.
Unlike the op it trusts its input: a NaN logit is an error here."""

import torch
import torch.nn.functional as F
from torch import Tensor

from yolox_ops.assignment import Assignment


def simota_loop(
    pred_boxes: Tensor,
    cls_logits: Tensor,
    obj_logits: Tensor,
    anchor_points: Tensor,
    strides: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_gts: Tensor | None = None,
    *,
    center_radius: float = 1.5,
    topk: int = 10,
) -> Assignment:
    """The assignment of `yolox_ops.simota` with its default rule; arguments and result as there, arithmetic in float32.

    Costs and IoU sums that are equal but for rounding may be ranked otherwise than by the op.
    """
    batch, anchors, classes = cls_logits.shape
    matched_gt = torch.full((batch, anchors), -1, device=pred_boxes.device)  # [B, N]
    matched_iou = torch.zeros(batch, anchors, device=pred_boxes.device)  # [B, N]
    counts = [gt_boxes.shape[1]] * batch if num_gts is None else num_gts.tolist()

    for b, count in enumerate(counts):
        gts = gt_boxes[b, :count].float()  # [G, 4]
        inside = in_center(gts, anchor_points, strides, center_radius)  # [G, N]
        candidates = inside.any(0).nonzero()[:, 0]  # [F]
        if len(candidates) == 0:
            continue

        iou = box_iou(gts, pred_boxes[b, candidates].float())  # [G, F]
        probability = cls_logits[b, candidates].float().sigmoid() * obj_logits[b, candidates, None].float().sigmoid()
        probability = probability.sqrt().expand(count, -1, -1)  # [G, F, C]
        target = F.one_hot(gt_labels[b, :count].long(), classes).float()[:, None].expand_as(probability)
        cls_cost = F.binary_cross_entropy(probability, target, reduction="none").sum(-1)  # [G, F]
        cost = cls_cost - 3.0 * torch.log(iou + 1e-8) + 1e6 * ~inside[:, candidates]  # [G, F]

        matched_gt[b, candidates], matched_iou[b, candidates] = match(cost, iou, topk)

    return Assignment(matched_gt, matched_iou, (matched_gt >= 0).sum(1))


def in_center(gts: Tensor, anchor_points: Tensor, strides: Tensor, radius: float = 1.5) -> Tensor:
    """[G, N] bool: anchors whose centre is nearer than `radius` strides to the gt's centre, in x and in y."""
    offset = (anchor_points - gts[:, None, :2]).abs()  # [G, N, 2]
    return (offset < radius * strides[:, None]).all(-1)


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """[G, 4] x [F, 4], both cxcywh -> [G, F]."""
    boxes1 = boxes1[:, None]  # [G, 1, 4]
    low = torch.maximum(boxes1[..., :2] - boxes1[..., 2:] / 2, boxes2[:, :2] - boxes2[:, 2:] / 2)
    high = torch.minimum(boxes1[..., :2] + boxes1[..., 2:] / 2, boxes2[:, :2] + boxes2[:, 2:] / 2)
    inter = (high - low).clamp(min=0).prod(-1)  # [G, F]
    union = boxes1[..., 2:].prod(-1) + boxes2[:, 2:].prod(-1) - inter
    return inter / union.clamp(min=1e-12)


def dynamic_k(iou: Tensor, topk: int = 10) -> Tensor:
    """[..., G, F] -> [..., G] int32: how many anchors each gt takes, by the IoUs of its best predictions."""
    best = iou.topk(min(topk, iou.shape[-1])).values  # [..., G, topk], descending
    return best.sum(-1).int().clamp(min=1)


def match(cost: Tensor, iou: Tensor, topk: int = 10) -> tuple[Tensor, Tensor]:
    """[G, F] x [G, F] -> the gt [F] int64 that each candidate goes to, -1 for none, and its IoU [F] with it or 0."""
    chosen = torch.zeros_like(cost, dtype=torch.bool)  # [G, F]
    for g, k in enumerate(dynamic_k(iou, topk).tolist()):
        chosen[g, cost[g].topk(k, largest=False).indices] = True

    # Among all gts: one that did not choose the anchor may win it too.
    contested = (chosen.sum(0) > 1).nonzero()[:, 0]
    chosen[:, contested] = False
    chosen[cost[:, contested].argmin(0), contested] = True

    matched = chosen.any(0)  # [F]
    matched_gt = torch.where(matched, chosen.int().argmax(0), -1)
    return matched_gt, (iou * chosen).sum(0)
