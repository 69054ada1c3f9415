"""dynamic_k_match beside Megvii's simota_matching, on the cost matrices of a batch: C = 80."""

import functools

import pytest
import torch
from torch import Tensor

from benchmarks.floors import Work
from benchmarks.peers.megvii import Megvii
from benchmarks.scenes import scene
from benchmarks.sweeps import Arguments, grown, sweeps
from benchmarks.workloads import Call
from yolox_ops import Scene, dynamic_k_match, simota_cost


class MegviiMatching:
    """Of the images' candidates, which are prepared once: Megvii matches those alone."""

    def __init__(self, args: Scene, costs: Tensor, ious: Tensor) -> None:
        self.head, self.images = Megvii(*args).head, []
        for b, count in enumerate(args.num_gts.tolist()):
            mask = costs[b].isfinite().any(0)
            self.images.append((costs[b][:, mask].float(), ious[b][:, mask], args.gt_labels[b], count, mask))

    def run(self) -> list:
        """What simota_matching returns for each image, and the mask of positives that it makes of the candidates'."""
        masks = [image[-1].clone() for image in self.images]
        return [
            (self.head.simota_matching(*image[:-1], mask), mask) for image, mask in zip(self.images, masks, strict=True)
        ]


def verify(
    args: Scene,
    cost: Tensor,  # [B, G, N]
    iou: Tensor,  # [B, G, N]
) -> str:
    result = dynamic_k_match(cost, iou)
    for b, ((num_fg, _, ious, gts), mask) in enumerate(MegviiMatching(args, cost, iou).run()):
        assert num_fg == result.num_fg[b]
        assert torch.equal(mask, result.fg_mask[b])
        assert (gts != result.matched_gt[b, mask]).sum() <= 1
        torch.testing.assert_close(ious, result.matched_iou[b, mask])
    return "equal to Megvii's but for at most one conflict an image"


def floor(
    cost: Tensor,  # [B, G, N]
    iou: Tensor,  # [B, G, N]
) -> Work:
    B, _, N = cost.shape
    return Work(cost.nbytes + iou.nbytes + B * (N * 12 + 8), "both matrices read, outputs written")


@pytest.mark.parametrize(("images", "objects"), [(4, 50), (16, 8)])
def test_peers(race, images, objects):
    args = scene([objects] * images)
    cost, iou = simota_cost(*args)
    race(
        functools.partial(dynamic_k_match, cost, iou),
        {"Megvii YOLOX, loop": MegviiMatching(args, cost, iou).run},
        op="dynamic_k_match",
        case=f"B={images}, {objects} objects",
        verified=verify(args, cost, iou),
        work=floor(cost, iou),
        counted=["Megvii YOLOX, loop"],
    )


def grown_scene(axis: str, value: int) -> Scene:
    return grown(axis, value, images=4, objects=8)


@sweeps(dynamic_k_match, B=(1, 2, 4, 8, 16), G=(4, 8, 16, 32, 64), N=(2100, 8400, 33600))
def sweep(axis: str, value: int) -> Arguments:
    return simota_cost(*grown_scene(axis, value)), {}


@sweep.each_size()
def test_growth(race, axis, value):
    call = sweep.call(axis, value)
    race(
        call,
        table="growth",
        op="dynamic_k_match",
        case=f"{axis}={value}",
        axis=axis,
        value=value,
        verified=verify(grown_scene(axis, value), *call.args),
        work=floor(*call.args),
    )


def workload_dynamic_k_match() -> Call:
    """the matrices of simota_cost's workload"""
    args = scene([5, 50])
    cost, iou = simota_cost(*args)
    return lambda: dynamic_k_match(cost, iou, args[-1])
