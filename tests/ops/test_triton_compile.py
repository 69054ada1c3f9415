"""Every Triton kernel compiles ahead of time, with no GPU at hand. The kernels are those that the launchers launch, and
the arguments those that they pass. What a kernel takes of a multiprocessor is written to build/triton_kernels.txt."""

import re
import subprocess
from pathlib import Path

import pytest
import torch
import triton
from boxes import random_boxes
from impls import triton_launcher
from scenes import random_scene
from selection import sample
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

from tests.ptx.compiled_triton import Compiler, launching_modules

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
REPORT = Path("build/triton_kernels.txt")
BOXES, MORE, GRAD = random_boxes(2, 70), random_boxes(2, 90, seed=1), torch.ones(2, 70, 90)
NMS = ("mean_gaussian", 0.5, 0.3, 1e-3, -1, "cxcywh")
RULE = (2.5, "box_or_center", 1e5, 1.0, 3.0, 1e-8)
OTA = (2.5, 20, 1.5, 0.1, 50, 0.0, 0.25, 2.0)
CASES = {
    "pairwise_iou": (BOXES, MORE, "cxcywh", "ciou"),
    "pairwise_iou_backward": (GRAD, BOXES, MORE, "cxcywh", "ciou"),
    "aligned_iou": (BOXES[0], MORE[0, :70], "cxcywh", "ciou"),
    "aligned_iou_backward": (GRAD[0, :, 0], BOXES[0], MORE[0, :70], "cxcywh", "ciou"),
    "soft_nms": (*sample(2, 300), *NMS),
    "simota_cost": (*random_scene([3, 5]), *RULE),
    "dynamic_k_match": (GRAD.double(), GRAD, None, 10, "down"),
    "simota": (*random_scene([3, 5]), *RULE, 10, "down"),
    "sinkhorn": (GRAD[:, :32], GRAD[:, :32, 0], GRAD[:, 0], 0.1, 1, 0.0),
    "ota": (*random_scene([3, 5]), *OTA),
}

# Branches that CASES leave out, compiled for one target.
DOUBLE = (GRAD[0, :, 0].double(), BOXES[0].double(), MORE[0, :70].double(), "cxcywh", "ciou")
VARIANTS = [
    *(("aligned_iou_backward", (*CASES["aligned_iou_backward"][:3], "xywh", kind)) for kind in ("iou", "giou", "diou")),
    ("aligned_iou_backward", DOUBLE),
    ("aligned_iou", (*DOUBLE[1:3], "xyxy", "giou")),
    *(("soft_nms", (*sample(2, 300), method, *NMS[1:])) for method in ("hard", "linear", "gaussian")),
    ("simota", (*random_scene([3, 5]), 25.0, "all", *RULE[2:], 20, "nearest")),
    ("dynamic_k_match", (GRAD.double(), GRAD, None, 10, "nearest")),
    ("sinkhorn", (GRAD, GRAD[:, :, 0], GRAD[:, 0], 0.1, 1, 0.0)),
    ("sinkhorn", (GRAD[:, :7].double(), GRAD[:, :7, 0], GRAD[:, 0], 0.1, 1, 0.01)),
    ("ota", (*(t.double() if t.is_floating_point() else t for t in random_scene([3, 5], size=64)), *OTA)),
    ("ota", (*random_scene([3, 5], size=64, objectness=False), *OTA)),
    ("soft_nms", (*(t.double() for t in sample(2, 300)[:2]), None, "gaussian", 0.5, 0.3, -1.0, 9, "xyxy")),
]


@pytest.fixture(scope="module")
def report():
    lines = []
    yield lines
    if lines:
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text("".join(sorted(lines)))


@pytest.fixture
def compiled(request, monkeypatch):
    """Function that calls a launcher and returns the kernels that it would have launched, compiled."""
    monkeypatch.setattr(driver, "_active", Compiler(TARGETS[request.node.callspec.params["arch"]]))

    def compile_launches(op, args):
        kernels = []

        def compile_only(kernel, programs, *args, **constants):
            assert programs > 0
            kernels.append(kernel.warmup(*args, grid=(programs,), **constants, enable_fp_fusion=False))

        for module in launching_modules():
            monkeypatch.setattr(module, "launch", compile_only)
        triton_launcher(op)(*args)
        return kernels

    return compile_launches


def nvidia_usage(cubin, folder):
    """Registers, and bytes of local memory a thread, which is where registers spill to."""
    path = folder / "kernel.cubin"
    path.write_bytes(cubin)
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    text = subprocess.run([tool, "--dump-resource-usage", path], capture_output=True, text=True, check=True).stdout
    registers, stack, local = re.search(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", text).groups()
    return int(registers), int(stack) + int(local)


def amd_usage(assembly):
    """Vector registers, and how many of them spill."""
    return tuple(int(re.search(rf"\.{name}:\s+(\d+)", assembly)[1]) for name in ("vgpr_count", "vgpr_spill_count"))


@pytest.mark.parametrize("op", CASES)
@pytest.mark.parametrize("arch", TARGETS)
def test_compiles_without_spills(op, arch, compiled, report, tmp_path):
    kernels = compiled(op, CASES[op])
    assert kernels
    for kernel in kernels:
        name, warps = kernel.metadata.name, kernel.metadata.num_warps
        if arch == "gfx942":
            assert kernel.asm["hsaco"]
            registers, spilled = amd_usage(kernel.asm["amdgcn"])
        else:
            registers, spilled = nvidia_usage(kernel.asm["cubin"], tmp_path)
        report.append(f"{arch:8}{op:24}{name:20}{warps:2} warps, {registers:3} registers, {spilled} spilled\n")
        assert spilled == 0


@pytest.mark.parametrize("arch", ["sm_90"])
@pytest.mark.parametrize(("op", "args"), VARIANTS)
def test_variants_compile(op, args, arch, compiled):
    assert all(kernel.asm["cubin"] for kernel in compiled(op, args))
