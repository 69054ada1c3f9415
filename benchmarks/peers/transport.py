"""Megvii's OTA as dense torch operations, image by image, and transport by POT, imported where it is called.
Megvii's own code needs cvpods, which builds with no current CUDA, so its rule is written out here: costs of [G + 1, N],
and every pair in every iteration."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.scenes import scene
from yolox_ops import Assignment, pairwise_iou


def megvii_sinkhorn(
    cost: Tensor,  # [..., M, N]
    supply: Tensor,  # [..., M]
    demand: Tensor,  # [..., N]
    epsilon: float = 0.1,
    iterations: int = 50,
) -> Tensor:
    """[..., M, N], in the dtype of cost; columns first, 1e-8 beside every mass."""
    u, v = torch.ones_like(supply), torch.ones_like(demand)
    log_supply, log_demand = torch.log(supply + 1e-8), torch.log(demand + 1e-8)

    def exponent() -> Tensor:
        return (u[..., :, None] + v[..., None, :] - cost) / epsilon

    for _ in range(iterations):
        v = v + epsilon * (log_demand - torch.logsumexp(exponent(), -2))
        u = u + epsilon * (log_supply - torch.logsumexp(exponent(), -1))
    return torch.exp(exponent())


def focal_loss(
    logits: Tensor,  # [N, C]
    target: Tensor,  # [N, C]
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Tensor:
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    missed = torch.where(target > 0, 1 - p, p)
    return torch.where(target > 0, alpha, 1 - alpha) * missed**gamma * entropy


def megvii_ota_problem(
    pred_boxes: Tensor,  # [N, 4]
    cls_logits: Tensor,  # [N, C]
    anchor_points: Tensor,  # [N, 2]
    strides: Tensor,  # [N]
    gt_boxes: Tensor,  # [G, 4]
    gt_labels: Tensor,  # [G]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """cost [G + 1, N], supply [G + 1], the sums of IoUs that it is rounded from [G], and iou [G, N]."""
    N, C = cls_logits.shape
    low, high = gt_boxes[:, None, :2] - gt_boxes[:, None, 2:] / 2, gt_boxes[:, None, :2] + gt_boxes[:, None, 2:] / 2
    reach = 2.5 * strides[:, None]
    centre = gt_boxes[:, None, :2]
    in_box = torch.cat([anchor_points - low, high - anchor_points], -1).amin(-1) > 0.01
    near = (torch.maximum(centre - reach, low), torch.minimum(centre + reach, high))
    in_centre = torch.cat([anchor_points - near[0], near[1] - anchor_points], -1).amin(-1) > 0
    inside = in_box & in_centre

    iou = pairwise_iou(gt_boxes, pred_boxes, fmt="cxcywh")
    background = focal_loss(cls_logits, torch.zeros_like(cls_logits)).sum(-1)
    one_hot = F.one_hot(gt_labels, C).to(cls_logits.dtype)
    # By gt, as [G, N, C] at once does not fit for the largest images.
    classes = torch.stack([focal_loss(cls_logits, row.expand(N, C)).sum(-1) for row in one_hot])
    cost = classes - 1.5 * torch.log(iou.clamp(min=torch.finfo(torch.float32).eps)) + 1e6 * ~inside
    totals = (iou * inside).topk(min(20, N), 1).values.sum(1)
    k = totals.int().clamp(min=1).to(cost.dtype)
    return torch.cat([cost, background[None]]), torch.cat([k, N - k.sum(0, keepdim=True)]), totals, iou


def megvii_ota_problems(images: int, objects: int = 50, size: int = 640) -> tuple[Tensor, Tensor, Tensor]:
    """cost [B, M, N] with M = objects + 1, supply, demand: of random scenes."""
    pred_boxes, cls_logits, _, points, strides, gt_boxes, gt_labels, _ = scene([objects] * images, size=size)
    parts = [
        megvii_ota_problem(pred_boxes[b], cls_logits[b], points, strides, gt_boxes[b], gt_labels[b])[:2]
        for b in range(images)
    ]
    cost, supply = (torch.stack(tensors) for tensors in zip(*parts, strict=True))
    return cost, supply, torch.ones(images, cost.shape[2])


def share(
    plan: Tensor,  # [M, N]
) -> Tensor:
    """[M, N], each row divided by its largest element."""
    return plan / plan.amax(1, keepdim=True)


def megvii_ota(
    pred_boxes: Tensor,  # [B, N, 4]
    cls_logits: Tensor,  # [B, N, C]
    anchor_points: Tensor,  # [N, 2]
    strides: Tensor,  # [N]
    gt_boxes: Tensor,  # [B, G, 4]
    gt_labels: Tensor,  # [B, G]
    num_gts: Tensor,  # [B]
    iterations: int = 50,
) -> Assignment:
    """The arguments of yolox_ops.ota."""
    matched_gt = torch.full(pred_boxes.shape[:2], -1)
    matched_iou = torch.zeros(pred_boxes.shape[:2])
    for b, count in enumerate(num_gts.tolist()):
        if count == 0:
            continue
        gts = (gt_boxes[b, :count], gt_labels[b, :count])
        cost, supply, _, iou = megvii_ota_problem(pred_boxes[b], cls_logits[b], anchor_points, strides, *gts)
        best = share(megvii_sinkhorn(cost, supply, cost.new_ones(cost.shape[1]), iterations=iterations)).argmax(0)
        matched_gt[b] = torch.where(best < count, best, -1)
        overlap = iou.gather(0, best.clamp(max=count - 1)[None])[0]
        matched_iou[b] = torch.where(best < count, overlap, 0)
    return Assignment(matched_gt, matched_iou, (matched_gt >= 0).sum(1))


def pot_sinkhorn(
    cost: Any,  # [M, N]
    supply: Any,  # [M]
    demand: Any,  # [N]
    epsilon: float = 0.1,
    iterations: int = 50,
) -> Any:
    """The plan of one problem [M, N] by POT, of NumPy arrays or of tensors, without its test for convergence."""
    import ot

    return ot.sinkhorn(
        supply, demand, cost, epsilon, method="sinkhorn_log", numItermax=iterations, stopThr=0, warn=False
    )


def pot_exact(
    cost: Tensor,  # [M, N]
    supply: Tensor,  # [M]
    demand: Tensor,  # [N]
) -> Tensor:
    """The transport of least cost [M, N], by POT's network simplex; float64."""
    import ot

    return torch.from_numpy(ot.emd(supply.double().numpy(), demand.double().numpy(), cost.double().numpy()))
