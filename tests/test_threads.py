"""Many Python threads calling ops at once, on shared inputs, get the answers of a lone caller."""

from concurrent.futures import ThreadPoolExecutor

import torch
from boxes import random_boxes
from scenes import random_scene

import yolox_ops

SCENE = random_scene([5, 0, 20, 9], classes=20, size=160)
BOXES, SCORES = random_boxes(300), torch.rand(300, generator=torch.Generator().manual_seed(0))


def every_op() -> list[torch.Tensor]:
    cost = yolox_ops.simota_cost(*SCENE)
    answers = [
        *cost,
        *yolox_ops.simota(*SCENE),
        *yolox_ops.dynamic_k_match(*cost, SCENE.num_gts),
        *yolox_ops.soft_nms(BOXES, SCORES),
        yolox_ops.pairwise_iou(BOXES, BOXES, kind="ciou"),
        yolox_ops.aligned_iou(BOXES, BOXES.flip(0), kind="giou"),
    ]
    boxes = BOXES.clone().requires_grad_()
    yolox_ops.pairwise_iou(boxes, BOXES).sum().backward()
    return [*answers, boxes.grad]


def test_concurrent_callers():
    alone = every_op()
    with ThreadPoolExecutor(16) as pool:
        crowd = list(pool.map(lambda _: every_op(), range(64)))
    for answers in crowd:
        torch.testing.assert_close(answers, alone, rtol=0, atol=0)
