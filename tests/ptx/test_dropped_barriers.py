"""Barriers of kernels that are shipped, taken out one at a time: the simulator notices."""

import torch
from impls import marks_of
from scenes import random_scene

from tests.ptx.compiled_cuda import kernels, ptx_kernel
from tests.ptx.simulator import SimulationError, demangle
from tests.ptx.syntax import Instruction

pytestmark = marks_of("nvcc-ptx")


def dropped(kernel_name: str, op: str, *args: object) -> tuple[list[int], list[int]]:
    """The lines of a kernel's barriers whose loss is noticed by a call, and of those whose loss is not."""
    ptx_kernel(op)(*args)
    simulator = kernels().simulator
    (name,) = (name for name in simulator.decoded if kernel_name in demangle(name))
    code = simulator.kernels[name].instructions
    noticed, missed = [], []
    for index, barrier in enumerate(list(code)):
        if not barrier.opcode.startswith("bar.sync"):
            continue
        code[index] = Instruction(barrier.line, "membar.cta", ())
        simulator.decode(name)
        try:
            ptx_kernel(op)(*args)
            missed.append(barrier.line)
        except SimulationError:
            noticed.append(barrier.line)
        code[index] = barrier
    simulator.decode(name)
    ptx_kernel(op)(*args)
    return noticed, missed


def test_a_block_that_selects():
    """Some guard what only a second label in one tile, or a further round, would touch."""
    boxes, scores = torch.rand(1, 100, 4) * 90, torch.rand(1, 100)
    boxes[..., 2:] += boxes[..., :2]
    args = boxes, scores, None, "mean_gaussian", 0.5, 0.3, 1e-3, -1, "xyxy"
    noticed, missed = dropped("select_large<float>", "soft_nms", *args)
    assert len(noticed) > 2 * len(missed)


def test_gts_of_a_solver():
    """A crowd whose factors leave their window, and more far rows than are kept. What neither notices guards memory
    that is used once there, and again only by more anchors than a block has threads."""
    crowd = random_scene([14, 6], size=64, seed=0)
    crowd.gt_boxes[..., :2].copy_(25 + 10 * torch.rand(crowd.gt_boxes[..., :2].shape))
    crowd.gt_boxes[:, 0] = torch.tensor([32.0, 32, 2, 2])
    far = random_scene([30, 26], size=64, seed=5)
    far.gt_boxes[0, :26] = torch.cat([torch.rand(26, 2).mul(6).floor() * 8 + 8, torch.full((26, 2), 3.0)], -1)
    missed: list[set[int]] = []
    for scene, iterations in ((crowd, 10), (far, 3)):
        noticed, unnoticed = dropped("solve<float>", "ota", *scene, 2.5, 20, 1.5, 0.01, iterations, 0.05, 0.25, 2.0)
        count = len(noticed) + len(unnoticed)
        missed.append(set(unnoticed))
    by_neither = set.intersection(*missed)
    assert count - len(by_neither) > 2 * len(by_neither)
