"""An op has one check, on its home page: the fake and the Triton launcher refuse what it refuses, in its words."""

import importlib
import math
from collections.abc import Callable

import pytest
import torch
from impls import triton_launcher
from scenes import random_scene
from torch.utils._pytree import tree_map_only

SCENE = random_scene([3, 2], size=32)
RULE = (1.5, "center", 1e6, 1.0, 3.0, 1e-8)
BOXES, COST = torch.rand(2, 3, 4), torch.rand(2, 5, 7)
# The arguments of the bare ops; all may be wrong.
GOOD = {
    "pairwise_iou": (BOXES, BOXES, "xyxy", "iou"),
    "pairwise_iou_backward": (torch.rand(2, 3, 3), BOXES, BOXES, "xyxy", "iou"),
    "aligned_iou": (BOXES[0], BOXES[0], "xyxy", "iou"),
    "aligned_iou_backward": (torch.rand(3), BOXES[0], BOXES[0], "xyxy", "iou"),
    "simota_cost": (*SCENE, *RULE),
    "simota": (*SCENE, *RULE, 10, "down"),
    "dynamic_k_match": (COST, COST, torch.tensor([5, 2]), 10, "down"),
    "ota": (*SCENE, 2.5, 20, 1.5, 0.1, 50, 0.0, 0.25, 2.0),
    "sinkhorn": (COST, torch.rand(2, 5), torch.rand(2, 7), 0.1, 50, 0.0),
    "soft_nms": (BOXES, BOXES[..., 0], torch.zeros(2, 3).long(), "hard", 0.5, 0.3, 1e-3, -1, "xyxy"),
}


def home_page_check(op: str) -> Callable:
    page = importlib.import_module(f"yolox_ops.ops.{op.removesuffix('_backward')}")
    return page.check_backward if op.endswith("_backward") else page.check


def fake(op: str) -> Callable:
    def on_meta(*args):
        return getattr(torch.ops.yolox_ops, op)(*tree_map_only(torch.Tensor, lambda t: t.to("meta"), args))

    return on_meta


def wrongs(argument) -> list:
    """What cannot stand in the place of an argument."""
    if isinstance(argument, torch.Tensor):
        return [argument[..., None], argument[:1], argument[..., :1], argument.bool(), argument[0]]
    return ["nothing"] if isinstance(argument, str) else [-2] if isinstance(argument, int) else [math.nan]


def refusal(function: Callable, args: tuple) -> tuple | None:
    try:
        function(*args)
    except (ValueError, TypeError) as error:
        return type(error), str(error)
    return None


@pytest.mark.parametrize("op", GOOD)
def test_fake_and_launcher_refuse_in_the_words_of_the_home_page(op):
    check = home_page_check(op)
    check(*GOOD[op])
    for i, argument in enumerate(GOOD[op]):
        refused = []
        for wrong in wrongs(argument):
            args = (*GOOD[op][:i], wrong, *GOOD[op][i + 1 :])
            expected = refusal(check, args)
            if expected is not None:
                refused.append(wrong)
                assert refusal(fake(op), args) == expected
                assert refusal(triton_launcher(op), args) == expected
        assert refused, f"no wrong argument {i}"


def test_every_op_is_here():
    names = [name.removeprefix("yolox_ops::") for name in torch._C._dispatch_get_all_op_names()]
    assert sorted(GOOD) == sorted(name for name in names if "::" not in name)
