"""Derivatives in forward mode: the IoU ops refuse them, and what no op differentiates counts as constant."""

import pytest
import torch
from boxes import random_boxes
from cases import make_cases
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves

import yolox_ops

pytestmark = [
    pytest.mark.plain,
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),  # torch's own, in forward mode
]

BOXES, OTHERS, TANGENT = random_boxes(1, 3), random_boxes(1, 3, seed=1), torch.ones(1, 3, 4)
CASES = make_cases(torch.float32)
CONSTANT = [name for name, case in CASES.items() if not case.differentiable and not name.startswith("numpy")]


def by_func(function, x, tangent):
    return torch.func.jvp(function, (x,), (tangent,))[1]


def by_level(function, x, tangent):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(x, tangent))).tangent


def compiled(function, x, tangent):
    try:
        return by_func(torch.compile(function, backend="aot_eager"), x, tangent)
    finally:
        torch._dynamo.reset()  # or it compiles no function again of which it was once refused


each_way = pytest.mark.parametrize("derivative", [by_func, by_level, compiled])


@each_way
@pytest.mark.parametrize("op", ["pairwise_iou", "aligned_iou"])
@pytest.mark.parametrize("learns", [False, True])
def test_the_iou_ops_refuse_forward_mode(op, derivative, learns):
    function, bare = getattr(yolox_ops, op), getattr(torch.ops.yolox_ops, op)
    boxes = BOXES.clone().requires_grad_(learns)
    words = f"yolox_ops.{op} has a derivative in backward mode only"
    for call in (lambda x: function(x, OTHERS), lambda x: function(OTHERS, x)):
        with pytest.raises(NotImplementedError, match=words):
            derivative(call, boxes, TANGENT)
    with pytest.raises(NotImplementedError, match=words):
        flat = boxes if op == "pairwise_iou" else boxes[0]
        derivative(lambda x: bare(x, OTHERS.view_as(x), "xyxy", "iou"), flat, TANGENT.view_as(flat))


@pytest.mark.parametrize("op", ["pairwise_iou", "aligned_iou"])
def test_the_iou_gradients_refuse_forward_mode(op):
    boxes = BOXES.clone().requires_grad_()
    value = getattr(yolox_ops, op)(boxes, OTHERS)
    with pytest.raises(NotImplementedError, match=f"{op}_backward has a derivative in backward mode only"):
        by_func(lambda grad: torch.autograd.grad(value, boxes, grad)[0], value.detach(), torch.ones_like(value))


@each_way
def test_boxes_without_a_tangent_are_constants(derivative):
    for function in (yolox_ops.pairwise_iou, yolox_ops.aligned_iou):
        constant = function(BOXES, OTHERS)
        found = derivative(lambda x, f=function: f(BOXES, OTHERS) * x.sum(), torch.ones(2), torch.ones(2))
        torch.testing.assert_close(found, 2 * constant, rtol=0, atol=0)


@pytest.mark.parametrize("name", CONSTANT)
def test_answers_without_gradient_are_constants(name):
    """As they are in backward mode: a loss over an assignment has a derivative, and its targets add nothing to it."""
    function, args = CASES[name].function, CASES[name].args
    floats = [i for i, x in enumerate(args) if x.is_floating_point()]

    def call(*values):
        given = list(args)
        for i, value in zip(floats, values, strict=True):
            given[i] = value
        return [x for x in tree_leaves(function(*given)) if x.is_floating_point()]

    values = tuple(args[i] for i in floats)
    answers, tangents = torch.func.jvp(call, values, tuple(torch.ones_like(x) for x in values))
    assert answers and all((tangent == 0).all() for tangent in tangents)
    for x, y in zip(answers, call(*values), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0)
