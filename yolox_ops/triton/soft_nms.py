"""soft_nms in Triton. The boxes that count are laid out label by label, in order of index. A label's sequence is one
program's work, and sorting the decayed scores merges the sequences. Kernels know boxes by their position in this
layout; a score of NaN marks a box that is gone."""

import math

import torch
from torch import Tensor

from yolox_ops._check import wide_dtype
from yolox_ops.ops.soft_nms import check
from yolox_ops.triton.launch import blocks, launch, narrow, round_to
from yolox_ops.triton.soft_nms_kernels import large_group_kernel, small_group_kernel

SMALL = 128  # a group of so many boxes is held in registers
LARGE = 1024  # boxes of a step through a larger group


def _step(value: float, towards: float, dtype: torch.dtype) -> float:
    """The next number of the dtype."""
    return torch.nextafter(*(torch.tensor(x, dtype=dtype, device="cpu") for x in (value, towards))).item()


def _limit(iou_threshold: float, inclusive: bool, dtype: torch.dtype) -> float:
    """What an IoU must exceed; boxes that do not overlap never decay."""
    nearest = round_to(iou_threshold, dtype)
    return max(_step(nearest, -math.inf, dtype) if inclusive else nearest, 0.0)


def _floor(score_threshold: float, dtype: torch.dtype) -> float:
    """What a score must reach. Where the dtype has no number near the threshold, it is the next one that reaches it."""
    nearest = round_to(score_threshold, dtype)
    far = nearest == 0 or math.isinf(nearest)
    return _step(nearest, math.inf, dtype) if far and nearest < score_threshold else nearest


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
    inclusive: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    check(boxes, scores, labels, method, sigma, iou_threshold, score_threshold, max_detections, fmt)
    B, N, _ = boxes.shape
    K = N if max_detections < 0 else min(max_detections, N)
    dtype = wide_dtype(boxes, scores)
    scores = scores.to(dtype)
    floor = _floor(score_threshold, dtype)
    # A negative score rises as it decays, so labels cannot be merged by score: one program serves an image.
    rising = score_threshold < 0

    gone = ~(scores >= floor)
    order = gone.to(torch.uint8).argsort(dim=1, stable=True)
    labels = order.new_zeros((B, N)) if labels is None else labels.long().gather(1, order)
    if not rising:
        labels, by_label = labels.sort(dim=1, stable=True)
        order = order.gather(1, by_label)
    scores = scores.masked_fill(gone, float("nan")).gather(1, order)
    dense = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    picked = scores.new_full((B, N), float("-inf"))
    rank = order.new_full((B, N), N)

    limit = 0.0 if method == "gaussian" else _limit(iou_threshold, inclusive, dtype)
    rule = (N, K, narrow(sigma, dtype), limit, floor)
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
