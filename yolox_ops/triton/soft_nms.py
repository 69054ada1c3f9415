"""soft_nms in Triton. The boxes that count are laid out label by label, in order of index. A label's sequence is one
program's work, and sorting the decayed scores merges the sequences. Kernels know boxes by their position in this
layout; a score of NaN marks a box that is gone."""

import torch
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.ops.soft_nms import check
from yolox_ops.triton.launch import blocks, launch
from yolox_ops.triton.soft_nms_kernels import large_group_kernel, small_group_kernel

SMALL = 128  # a group of so many boxes is held in registers
LARGE = 1024  # boxes of a step through a larger group


def soft_nms(
    boxes: Tensor,  # [B, N, 4]
    scores: Tensor,  # [B, N]
    labels: Tensor | None,  # [B, N]
    method: str,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
    max_detections: int,
    fmt: str,
) -> tuple[Tensor, Tensor, Tensor]:
    check(boxes, scores, labels, method, sigma, iou_threshold, score_threshold, max_detections, fmt)
    B, N, _ = boxes.shape
    K = N if max_detections < 0 else min(max_detections, N)
    dtype = wide_dtype(boxes, scores)
    scores = scores.to(dtype)
    # A negative score rises as it decays, so labels cannot be merged by score: one program serves an image.
    rising = score_threshold < 0

    gone = ~(scores >= score_threshold)
    order = gone.to(torch.uint8).argsort(dim=1, stable=True)
    labels = order.new_zeros((B, N)) if labels is None else labels.gather(1, order)
    if not rising:
        labels, by_label = labels.sort(dim=1, stable=True)
        order = order.gather(1, by_label)
    scores = scores.masked_fill(gone, float("nan")).gather(1, order)
    dense = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    picked = scores.new_full((B, N), float("-inf"))
    rank = order.new_full((B, N), N)

    limit = 0.0 if method == "gaussian" else max(iou_threshold, 0.0)  # boxes that do not overlap never decay
    rule = (N, K, sigma, limit, score_threshold)
    choice = {"METHOD": method, "FMT": fmt}
    groups = torch.zeros_like(labels) if rising else labels
    if not rising:
        launch(small_group_kernel, B * N, dense, scores, groups, picked, *rule, **choice, BLOCK=SMALL, num_warps=1)
    tensors = dense, scores, scores.clone(), groups, labels, picked, rank
    sizes = {"SMALL": SMALL, "LARGE": LARGE, "LEAST": 0 if rising else SMALL}
    launch(large_group_kernel, B * blocks(N, SMALL), *tensors, *rule, **choice, **sizes, num_warps=16)

    if rising:
        counts = (rank < N).sum(1)
        sequence = rank.argsort(dim=1, stable=True)
        decayed, indices = picked.gather(1, sequence), order.gather(1, sequence)
    else:
        counts = (picked >= 0).sum(1).clamp(max=K)
        by_index = torch.empty_like(picked).scatter_(1, order, picked)  # of equal scores the lower index comes first
        decayed, indices = by_index.sort(dim=1, descending=True, stable=True)
    selected = torch.arange(K, device=boxes.device) < counts[:, None]
    return indices[:, :K].where(selected, -1), decayed[:, :K].where(selected, 0.0), counts
