"""Neither the number of threads that an op may use nor callers at the same time change a bit of its answer."""

from concurrent.futures import ThreadPoolExecutor

import torch
from boxes import random_boxes
from scenes import Scene, random_scene

import yolox_ops

SCENE = random_scene([5, 0, 40, 9, 17], classes=20, size=160)
ONE_IMAGE = Scene(*(t[2:3] for t in SCENE[:3]), *SCENE[3:5], *(t[2:3] for t in SCENE[5:]))
BOXES, MANY = random_boxes(300), random_boxes(3, 3000, extent=600.0)
# 100,000 pairs, which threads share.
TRANSPORT = torch.rand(1, 20, 5000, generator=torch.Generator().manual_seed(0)), torch.ones(1, 20), torch.ones(1, 5000)
SCORES, LABELS = torch.rand(3, 3000, generator=torch.Generator().manual_seed(0)), torch.arange(9000).view(3, 3000) % 40


def every_op() -> list[torch.Tensor]:
    cost = yolox_ops.simota_cost(*SCENE)
    boxes = BOXES.clone().requires_grad_()
    yolox_ops.pairwise_iou(boxes, BOXES).sum().backward()
    return [
        *cost,
        *yolox_ops.simota(*SCENE),
        *yolox_ops.simota(*ONE_IMAGE),
        *yolox_ops.dynamic_k_match(*cost, SCENE.num_gts),
        *yolox_ops.ota(SCENE.pred_boxes, SCENE.cls_logits, *SCENE[3:]),
        yolox_ops.sinkhorn(*TRANSPORT, iterations=5),
        *yolox_ops.batched_soft_nms(MANY, SCORES),
        *yolox_ops.batched_soft_nms(MANY, SCORES, LABELS, method="mean_gaussian"),
        yolox_ops.pairwise_iou(BOXES, BOXES, kind="ciou"),
        yolox_ops.aligned_iou(MANY, MANY.flip(1), kind="giou"),
        boxes.grad,
    ]


def test_any_number_of_threads():
    threads, answers = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3, 5):
            torch.set_num_threads(count)
            answers.append(every_op())
    finally:
        torch.set_num_threads(threads)
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], rtol=0, atol=0)


def test_concurrent_callers():
    alone = every_op()
    with ThreadPoolExecutor(16) as pool:
        crowd = list(pool.map(lambda _: every_op(), range(64)))
    for answers in crowd:
        torch.testing.assert_close(answers, alone, rtol=0, atol=0)
