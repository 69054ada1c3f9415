"""What a call takes beside its inputs and outputs, as the operating system counts it."""

import subprocess
import sys

import pytest

SCRIPT = """
import random, re, sys
from pathlib import Path
import torch
from benchmarks.scenes import scene
from yolox_ops import simota

def kilobytes(field):
    return int(re.search(rf"{field}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

counts = eval(sys.argv[1])
torch.set_num_threads(2)
args = scene(counts)
simota(*scene([1], size=64))  # loads code, starts threads
Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
before = kilobytes("VmRSS")
result = simota(*args)
outputs = sum(t.numel() * t.element_size() for t in result) // 1024
print(kilobytes("VmHWM") - before - outputs)
"""


def temporary_kilobytes(counts: str) -> int:
    return int(
        subprocess.run([sys.executable, "-c", SCRIPT, counts], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.heavy
def test_simota_needs_less_than_8_mb():
    assert temporary_kilobytes("[random.Random(0).randint(1, 100) for _ in range(16)]") < 8 * 1024
    assert temporary_kilobytes("[574]") < 8 * 1024
