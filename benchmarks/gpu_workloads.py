"""The calls that GPUs are measured by: bench_gpu.py times them, ptx_budget.py counts what they execute. A function
gives an op's arguments, in the order of its schema; counts are those of objects, image by image."""

import random
from typing import Any

import torch

import yolox_ops
from benchmarks.scenes import random_boxes, random_detections, scene
from yolox_ops import Scene

# center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps
RULE = (1.5, "center", 1e6, 1.0, 3.0, 1e-8)
DRAW = random.Random(0)
COUNTS = {"B=16": [DRAW.randint(1, 50) for _ in range(16)], "B=64": [DRAW.randint(1, 50) for _ in range(64)]}

Arguments = tuple[Any, ...]


def simota(counts: list[int]) -> Arguments:
    return *scene(counts), *RULE, 10, "down"


def simota_cost(counts: list[int]) -> Arguments:
    return *scene(counts), *RULE


def dynamic_k_match(counts: list[int]) -> Arguments:
    inputs = scene(counts)
    return *yolox_ops.simota_cost(*inputs), inputs.num_gts, 10, "down"


def ota(inputs: Scene, tolerance: float = 0.0, iterations: int = 50) -> Arguments:
    center_radius, topk, iou_weight, epsilon, focal_alpha, focal_gamma = 2.5, 20, 1.5, 0.1, 0.25, 2.0
    solver = center_radius, topk, iou_weight, epsilon, iterations, tolerance
    return *inputs._replace(obj_logits=None), *solver, focal_alpha, focal_gamma


def far_scene(counts: list[int], far: int = 1) -> Scene:
    """Each image's first objects are as small as no stride and lie between the anchors of every level: none is in them,
    so all of them may be their own."""
    inputs = scene([max(count, far) for count in counts])
    for i in range(far):
        inputs.gt_boxes[:, i] = torch.tensor([320.0 + 64 * i, 320, 2, 2])
    return inputs


def sinkhorn(M: int, N: int, iterations: int = 50) -> Arguments:
    """cost [16, M, N], supply [16, M], demand [16, N]."""
    generator = torch.Generator().manual_seed(0)
    cost, supply, demand = (torch.rand(16, *shape, generator=generator) for shape in ((M, N), (M,), (N,)))
    epsilon, tolerance = 0.1, 0.0
    return cost * 5, supply * 9, demand, epsilon, iterations, tolerance


def pairwise_iou(rows: int, columns: int) -> Arguments:
    boxes = random_boxes(1, columns)
    return boxes[:, :rows], boxes, "xyxy", "iou"


def pairwise_iou_backward(rows: int, columns: int) -> Arguments:
    grad = torch.rand(1, rows, columns, generator=torch.Generator().manual_seed(0))
    return grad, *pairwise_iou(rows, columns)


def aligned_iou(count: int) -> Arguments:
    boxes = random_boxes(count)
    return boxes, boxes.roll(1, 0) + 3, "xyxy", "ciou"


def aligned_iou_backward(count: int) -> Arguments:
    return torch.rand(count, generator=torch.Generator().manual_seed(0)), *aligned_iou(count)


def soft_nms(batch: int, size: int, kinds: int) -> Arguments:
    sigma, iou_threshold, score_threshold, max_detections = 0.5, 0.3, 1e-3, -1
    rule = "gaussian", sigma, iou_threshold, score_threshold, max_detections, "xyxy"
    return *random_detections(batch, size, kinds=kinds), *rule
