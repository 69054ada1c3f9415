"""The numbers of a rule are arguments of the Triton kernels: one compilation is for all of them, and a kernel that has
run once can be captured in a CUDA graph with any."""

import pytest
import torch
import triton
from impls import check_equals_cpp, device_kernels
from scenes import random_scene
from selection import sample

each_triton = pytest.mark.parametrize("kernel", device_kernels("triton"))
SCENE = random_scene([2, 3], size=64)
FLAT = SCENE._replace(obj_logits=None)
BOXES = sample(1, 90)
COST = torch.rand(1, 3, 20)

# Of each op: tensors, options, and the same with every number another. Those of one are such as compilers like: 1 and
# multiples of 16.
CALLS = {
    "simota_cost": (SCENE, (1.5, "center", 1e6, 1.0, 3.0, 1e-8), (1e-46, "center", 0.0, 1e-46, 1e6, 1.0)),
    "simota": (
        SCENE,
        (1.5, "center", 1e6, 1.0, 3.0, 1e-8, 10, "down"),
        (1e39, "center", 16.0, 0.3, 1e-46, 1e-30, 1, "down"),
    ),
    "dynamic_k_match": ((COST.double(), COST, None), (10, "down"), (1, "down")),
    "ota": (FLAT, (2.5, 20, 1.5, 0.1, 50, 0.0, 0.25, 2.0), (1e39, 1, 1e-46, 1.0, 16, 0.01, 0.1, 0.5)),
    "sinkhorn": ((COST, COST[:, :, 0], COST[:, 0]), (0.1, 50, 0.0), (1.0, 16, 0.01)),
    "soft_nms": (
        BOXES,
        ("gaussian", 0.5, 0.3, 1e-3, -1, "xyxy"),
        ("gaussian", 1e-46, 1.0, 1e-46, 1, "xyxy"),
    ),
}


@each_triton
@pytest.mark.parametrize("op", CALLS)
def test_other_numbers_ask_for_no_other_kernel(kernel, op, monkeypatch):
    tensors, options, others = CALLS[op]
    kernel(op)(*tensors, *options)
    asked = []
    monkeypatch.setattr(triton.knobs.compilation, "listener", lambda **compiled: asked.append(compiled["src"].name))
    kernel(op)(*tensors, *others)
    assert asked == []


@each_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "rule",
    [
        (1e-46, 0.0, 1e-46, 1e-46, 1e-30),
        (1e39, 1e9, 1e6, 1e6, 1.0),
        (1 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 3),
        (2.5, 1e-300, 0.0, 1e-300, 1e-8),
    ],
)
def test_costs_of_any_numbers(kernel, dtype, rule):
    """To the bit in float32."""
    scene = [t.to(dtype) if t is not None and t.is_floating_point() else t for t in SCENE]
    args = (*scene, rule[0], "center", *rule[1:])
    if dtype == torch.float32:
        check_equals_cpp(kernel, "simota_cost", *args)
    else:
        found, expected = kernel("simota_cost")(*args), torch.ops.yolox_ops.simota_cost(*args)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-300)


@each_triton
@pytest.mark.parametrize(
    "rule",
    [
        (1e39, 1, 1e-46, 0.1, 3, 0.0, 1e-46, 1e-46),
        (2.5, 10**9, 1e3, 1e-3, 3, 0.0, 1.0, 100.0),
        (20.0, 20, 1 / 3, 100.0, 3, 0.0, 0.1, 1 / 3),
    ],
)
def test_transports_of_any_numbers(kernel, rule):
    check_equals_cpp(kernel, "ota", *FLAT, *rule)
