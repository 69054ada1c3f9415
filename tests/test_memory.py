"""What a call takes beside its inputs and outputs, as the operating system counts it."""

import subprocess
import sys

import pytest

SCRIPT = """
import random, re, sys
from pathlib import Path
import torch
from benchmarks.scenes import scene
import yolox_ops

def kilobytes(field):
    return int(re.search(rf"{field}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def assign(pred_boxes, cls_logits, obj_logits, *rest):
    if sys.argv[1] == "simota":
        return yolox_ops.simota(pred_boxes, cls_logits, obj_logits, *rest)
    return yolox_ops.ota(pred_boxes, cls_logits, *rest, obj_logits=obj_logits)

counts = eval(sys.argv[2])
torch.set_num_threads(2)
args = scene(counts)
assign(*scene([1], size=64))  # loads code, starts threads
Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
before = kilobytes("VmRSS")
result = assign(*args)
outputs = sum(t.numel() * t.element_size() for t in result) // 1024
print(kilobytes("VmHWM") - before - outputs)
"""


def temporary_kilobytes(op: str, counts: str) -> int:
    command = [sys.executable, "-c", SCRIPT, op, counts]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.heavy
@pytest.mark.parametrize("op", ["simota", "ota"])
@pytest.mark.parametrize("counts", ["[random.Random(0).randint(1, 100) for _ in range(16)]", "[574]"])
def test_assignment_needs_less_than_8_mb(op, counts):
    assert temporary_kilobytes(op, counts) < 8 * 1024
