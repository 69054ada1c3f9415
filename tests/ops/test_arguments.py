"""Checks of numbers: what is refused, and in how many words."""

import dataclasses
import json
import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from scenes import random_scene

import yolox_ops
from yolox_ops._arguments import check_at_least, check_between, check_count, check_number, check_positive
from yolox_ops.trainer.train.recipe import Recipe
from yolox_ops.yolox import Predictions, anchor_grid, detect, yolox_nano


def between(name, value):
    check_between(name, value, 0, math.inf)


def at_least(name, value):
    check_at_least(name, value, 0)


def count(name, value):
    check_count(name, value, 0)


class Odd:
    shape = None

    def __sym_float__(self):
        return 0.5


each_check = pytest.mark.parametrize("check", [check_number, between, at_least, check_positive, count])


@each_check
@pytest.mark.parametrize(
    ("value", "fact"),
    [
        ("1", "'1'"),
        ("1" * 10**6, "'11"),
        (["1"] * 10**6, r"\['1', .*\.\.\.\]"),
        (range(9), r"range\(0, 9\)"),
        (True, "True"),
        (None, "None"),
        (1j, "1j"),
        (np.bool_(True), r"bool_? of shape \[\]"),
        (np.complex64(1), r"complex64 of shape \[\]"),
        (np.timedelta64(1, "s"), r"timedelta64 of shape \[\]"),
        (np.array(1.0), r"ndarray of shape \[\]"),
        (torch.ones(2, 3), r"Tensor of shape \[2, 3\]"),
        (torch.SymBool(None), "<SymBool instance at"),
        (Odd(), "<test_arguments.Odd object at"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_wrong_types_are_refused_in_a_short_message(check, value, fact):
    with pytest.raises(TypeError, match=f"^sigma must be (a number|an integer), got {fact}") as caught:
        check("sigma", value)
    assert len(str(caught.value)) < 300


@each_check
@pytest.mark.parametrize("sign", [1, -1])
def test_an_integer_too_large_for_a_float_is_refused_by_its_size(check, sign):
    """Python refuses to write so many digits."""
    with pytest.raises(ValueError, match="sigma must fit into a float, got an integer of 16610 bits"):
        check("sigma", sign * 10**5000)


def test_valid_numbers_are_accepted():
    for check in (check_number, between, at_least, check_positive):
        for value in (1, 0.5, np.float64(0.5), 2**1000):
            check("sigma", value)
    count("topk", 2**63 - 1)


WIDTHS = [*np.typecodes["AllInteger"], *np.typecodes["Float"]]


@pytest.mark.parametrize("width", WIDTHS)
def test_numpy_numbers_are_python_s(width):
    number = np.dtype(width).type(3)
    for check in (
        check_number,
        check_positive,
        partial(check_between, low=0, high=1e9),
        partial(check_at_least, bound=0),
    ):
        found = check("sigma", number)
        assert found == 3 and type(found) is (float if width in np.typecodes["Float"] else int)
    with pytest.raises(ValueError, match=r"^sigma must be in \[0, 1\], got 3(\.0)?$"):
        check_between("sigma", number, 0, 1)
    with pytest.raises(ValueError, match=r"^sigma must be at least 4, got 3(\.0)?$"):
        check_at_least("sigma", number, 4)


def test_numpy_numbers_at_the_ends_of_their_width():
    assert check_between("sigma", np.float16(0.5), 0, 1e9) == 0.5  # 1e9 is infinite in float16
    assert check_count("topk", np.int8(127), 0) == 127 and check_count("topk", np.int64(-1), -1) == -1
    with pytest.raises(ValueError, match=r"topk must be below 2\^63, got 18446744073709551615"):
        check_count("topk", np.uint64(2**64 - 1), 0)
    with pytest.raises(ValueError, match="sigma must be positive and finite, got inf"):
        check_positive("sigma", np.longdouble("1e400"))
    with pytest.raises(ValueError, match="sigma must be positive and finite, got nan"):
        check_positive("sigma", np.float32(np.nan))
    with pytest.raises(TypeError, match=r"topk must be an integer, got float32 of shape \[\]"):
        check_count("topk", np.float32(3), 0)


@pytest.mark.parametrize("high", [1e9, 1 / 3, 1 - 2**-53, 16777217])
def test_a_bound_is_told_exactly(high):
    with pytest.raises(ValueError, match="must be in") as caught:
        check_between("sigma", 1e10, 0, high)
    assert float(str(caught.value).split()[5].rstrip("],")) == high


def bare_ota(focal_alpha):
    torch.ops.yolox_ops.ota(*SCENE, 2.5, 20, 1.5, 0.1, 50, 0.0, focal_alpha, 2.0)


def bare_sinkhorn(supply):
    masses = torch.full((2, 3), supply, dtype=torch.float64)
    torch.ops.yolox_ops.sinkhorn(COST, masses, torch.ones(2, 7), 0.1, 1, 0.0)


@pytest.mark.parametrize(
    ("call", "value", "words"),
    [
        (bare_ota, 1 + 2**-52, "focal_alpha must be in [0, 1], got 1.0000000000000002"),
        (bare_ota, -5e-324, "focal_alpha must be in [0, 1], got -5e-324"),
        (bare_ota, math.inf, "focal_alpha must be in [0, 1], got inf"),
        (bare_ota, math.nan, "focal_alpha must be in [0, 1], got nan"),
        (bare_sinkhorn, 1e12 + 0.25, "supply must be in [0, 1e12], got 1000000000000.25 at image 0, row 0"),
    ],
)
def test_the_native_code_tells_a_value_exactly(call, value, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        call(value)


SCENE = random_scene([3, 2], size=32)
COST = torch.rand(2, 3, 7)
BOXES, SCORES = torch.rand(2, 9, 4) * 20, torch.rand(2, 9)
# What takes numbers, and the numbers.
FUNCTIONS = {
    "simota_cost": (
        partial(yolox_ops.simota_cost, *SCENE),
        {"center_radius": 1.25, "outside_penalty": 1000, "cls_weight": 0.5, "iou_weight": 2, "iou_eps": 0.125},
    ),
    "simota": (partial(yolox_ops.simota, *SCENE), {"center_radius": 1.25, "topk": 3}),
    "dynamic_k_match": (partial(yolox_ops.dynamic_k_match, COST, COST), {"topk": 3}),
    "ota": (
        partial(yolox_ops.ota, *SCENE[:2], *SCENE[3:]),
        {
            **{"center_radius": 1.5, "topk": 5, "iou_weight": 2, "epsilon": 0.125, "iterations": 7},
            **{"tolerance": 0.25, "focal_alpha": 0.5, "focal_gamma": 1.5},
        },
    ),
    "sinkhorn": (
        partial(yolox_ops.sinkhorn, COST, torch.ones(2, 3), torch.ones(2, 7)),
        {"epsilon": 0.125, "iterations": 7, "tolerance": 0.25},
    ),
    "batched_soft_nms": (
        partial(yolox_ops.batched_soft_nms, BOXES, SCORES),
        {"sigma": 0.5, "iou_threshold": 0.25, "score_threshold": 0.125, "max_detections": 5},
    ),
    "soft_nms": (
        partial(yolox_ops.soft_nms, BOXES[0], SCORES[0]),
        {"sigma": 0.5, "iou_threshold": 0.25, "score_threshold": 0.125, "max_detections": 5},
    ),
    "detect": (
        partial(detect, Predictions(*SCENE[:3], SCENE.pred_boxes, *SCENE[3:5])),
        {"sigma": 0.5, "iou_threshold": 0.25, "score_threshold": 0.125, "max_detections": 5},
    ),
    "yolox_loss": (partial(yolox_ops.yolox_loss, *SCENE), {"reg_weight": 2.5}),
    "anchor_grid": (partial(anchor_grid, strides=(8, 16)), {"height": 64, "width": 96}),
    "explain": (
        lambda **rule: [gt.k for gt in yolox_ops.explain(yolox_ops.simota(*SCENE), *SCENE, **rule).gts],
        {"center_radius": 1.25, "topk": 3},
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("widths", [(np.float16, np.int16), (np.float32, np.uint64), (np.float64, np.uint8)])
def test_options_may_be_numpy_s(name, widths):
    function, options = FUNCTIONS[name]
    given = {name: widths[isinstance(n, int) and n < 256](n) for name, n in options.items()}
    torch.testing.assert_close(function(**given), function(**options), rtol=0, atol=0)


def test_what_is_made_of_numpy_s_numbers():
    for strides in ((np.int32(8), np.uint8(16)), np.array([8, 16])):
        torch.testing.assert_close(anchor_grid(64, 96, strides), anchor_grid(64, 96, (8, 16)), rtol=0, atol=0)
    with pytest.raises(ValueError, match="strides must name at least one level"):
        anchor_grid(64, 96, np.array([], int))
    assert yolox_nano(np.int64(2)).head.cls_preds[0].out_channels == 2
    recipe = Recipe(epochs=np.int64(30), lr=np.float64(0.5), flip=np.float32(0.5))
    assert json.loads(json.dumps(dataclasses.asdict(recipe))) == dataclasses.asdict(Recipe(epochs=30, lr=0.5, flip=0.5))


@pytest.mark.plain
def test_programs_are_exported_with_numpy_s_numbers():
    class Select(torch.nn.Module):
        def forward(self, boxes, scores):
            return tuple(yolox_ops.batched_soft_nms(boxes, scores, sigma=np.float32(0.5), max_detections=np.int64(5)))

    program = torch.export.export(Select(), (BOXES, SCORES))
    torch.testing.assert_close(program.module()(BOXES, SCORES), Select()(BOXES, SCORES), rtol=0, atol=0)
