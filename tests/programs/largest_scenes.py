"""The cases of tests/programs/largest.py of ops that assign."""

import torch
from matching import check_against_reference as check_simota
from repeated import MANY, case, check_close, check_repeats, enough, repeated
from scenes import random_scene, take_image
from transport import by_scene
from transport import check_against_reference as check_ota

import yolox_ops
from python_ref.dynamic_k_match import dynamic_k_match as reference_match
from python_ref.simota_cost import simota_cost as reference_cost
from yolox_ops import Assignment, Scene


def scene() -> Scene:
    """20 images of 189 anchors, some empty."""
    made = random_scene([i % 9 for i in range(20)], classes=80, pad=0)
    return made._replace(cls_logits=made.cls_logits.bfloat16())


def many_images(small: Scene) -> Scene:
    count = enough(small.cls_logits.numel())
    shared = {"anchor_points": small.anchor_points, "strides": small.strides}
    large = Scene(*(None if x is None else repeated(x, count) for x in small))._replace(**shared)
    assert large.cls_logits.numel() > MANY
    return large


def many_classes() -> tuple[Scene, Scene]:
    """An image whose ground truths lie at the end of its logits: the last of 68,000 classes, and the small scene of
    those alone. The others' logits are -1000, which adds nothing to a cost."""
    small = random_scene([40], classes=80, size=1280, seed=1, pad=0)
    small = small._replace(cls_logits=small.cls_logits.bfloat16())
    C = 68_000  # so that all of the last level lies beyond 2^31
    logits = torch.full((*small.cls_logits.shape[:2], C), -1000, dtype=torch.bfloat16)
    logits[..., -80:] = small.cls_logits
    assert logits.numel() > MANY
    return small, small._replace(cls_logits=logits, gt_labels=small.gt_labels + C - 80)


def check_assignments(large: Assignment, small: Assignment) -> None:
    for found, wanted in zip(large, small, strict=True):
        check_repeats(found, wanted)


@case
def simota_of_many_images() -> None:
    small = scene()
    answer = yolox_ops.simota(*small)
    check_simota(answer, small)
    check_assignments(yolox_ops.simota(*many_images(small)), answer)


@case
def simota_of_many_classes() -> None:
    small, large = many_classes()
    answer = yolox_ops.simota(*small)
    assert answer.num_fg > 100
    check_simota(answer, small)
    check_assignments(yolox_ops.simota(*large), answer)


@case
def simota_of_many_anchors() -> None:
    """Copies of a small image beside one another in one of 33 million anchors, some with its ground truths."""
    small = random_scene([6], classes=64, seed=3, pad=0)
    small = small._replace(cls_logits=small.cls_logits.bfloat16())
    answer = yolox_ops.simota(*small)
    check_simota(answer, small)
    N, G = len(small.strides), len(small.gt_boxes[0])
    copies = enough(small.cls_logits.numel())
    number = torch.arange(copies)
    place = torch.stack([number % 512, number // 512], -1) * 256.0  # no copy reaches another
    where = torch.zeros(copies, 1, 4)
    where[:, 0, :2] = place
    crowded = torch.cat([torch.arange(4), torch.randint(copies, (8,)).sort()[0], torch.arange(copies - 4, copies)])
    crowded = crowded.unique()
    large = Scene(
        (small.pred_boxes + where).view(1, -1, 4),
        repeated(small.cls_logits[0], copies)[None],
        repeated(small.obj_logits[0], copies)[None],
        (small.anchor_points + place[:, None]).view(-1, 2),
        repeated(small.strides, copies),
        (small.gt_boxes + where[crowded]).view(1, -1, 4),
        small.gt_labels.repeat(1, len(crowded)),
        None,
    )
    assert large.cls_logits.numel() > MANY
    found = yolox_ops.simota(*large)
    gts, ious = found.matched_gt.view(copies, N), found.matched_iou.view(copies, N)
    first = torch.arange(len(crowded))[:, None] * G
    assert gts[crowded].equal(torch.where(answer.fg_mask, answer.matched_gt + first, -1))
    check_repeats(ious[crowded], answer.matched_iou)
    others = torch.ones(copies, dtype=torch.bool).scatter_(0, crowded, False)
    assert (gts[others] == -1).all() and (ious[others] == 0).all()
    assert found.num_fg == len(crowded) * answer.num_fg


@case
def simota_cost_of_many_images() -> None:
    small = scene()
    cost, iou = yolox_ops.simota_cost(*small)
    for b in range(len(cost)):
        count = int(small.num_gts[b])
        if count:
            costs, ious = reference_cost(*take_image(small, b))
            check_close(cost[b, :count], costs)
            check_close(iou[b, :count], ious)
        assert (cost[b, count:] == torch.inf).all() and (iou[b, count:] == 0).all()
    large = yolox_ops.simota_cost(*many_images(small))
    check_repeats(large[0], cost)
    check_repeats(large[1], iou)


@case
def simota_cost_of_many_classes() -> None:
    """Only close to the small one's, for products are scaled after so many classes."""
    small, large = many_classes()
    for found, wanted in zip(yolox_ops.simota_cost(*large), yolox_ops.simota_cost(*small), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


@case
def ota_of_many_images() -> None:
    small, rule = scene(), {"iterations": 5}
    answer = by_scene(yolox_ops.ota)(small, **rule)
    check_ota(answer, small, **rule)
    check_assignments(by_scene(yolox_ops.ota)(many_images(small), **rule), answer)


@case
def ota_of_many_classes() -> None:
    small, large = many_classes()
    answer = by_scene(yolox_ops.ota)(small)
    assert answer.num_fg > 100
    check_assignments(by_scene(yolox_ops.ota)(large), answer)


@case
def dynamic_k_match_of_one_image() -> None:
    """Small matrices along the diagonal of a large one, which may match nowhere else."""
    G, N = 8, 64
    cost, iou = torch.rand(1, G, N).half(), torch.rand(1, G, N).half()
    answer = yolox_ops.dynamic_k_match(cost, iou)
    expected = reference_match(cost[0].tolist(), iou[0].tolist())
    assert answer.matched_gt[0].tolist() == expected[0] and answer.num_fg == expected[2]
    check_close(answer.matched_iou[0], expected[1])
    copies = int((MANY / (G * N)) ** 0.5) + 1
    costs = torch.full((1, copies * G, copies * N), torch.inf, dtype=torch.half)
    ious = torch.zeros(costs.shape, dtype=torch.half)
    assert costs.numel() > MANY
    for large, small in ((costs, cost), (ious, iou)):
        strides = (copies * N * G + N, copies * N, 1)
        large.as_strided((copies, G, N), strides).copy_(small)
    found = yolox_ops.dynamic_k_match(costs, ious)
    first = torch.arange(copies)[:, None] * G
    wanted = torch.where(answer.fg_mask, answer.matched_gt + first, -1)
    assert found.matched_gt.view(copies, N).equal(wanted) and found.num_fg == copies * answer.num_fg
    check_repeats(found.matched_iou.view(copies, N), answer.matched_iou)
