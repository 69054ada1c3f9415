"""What a call takes beside its inputs and outputs, as the operating system counts it: each in a process of its own.

python -m benchmarks.memory simota '[574]'
"""

import ast
import ctypes
import functools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

import yolox_ops
from benchmarks.peers.megvii import Megvii
from benchmarks.peers.torch_ops import simota_torch
from benchmarks.scenes import scene
from yolox_ops import Scene


def peak_bytes(contender: str, counts: list[int]) -> int:
    """Temporary memory of a call on scene(counts) with two threads."""
    command = [sys.executable, "-m", "benchmarks.memory", contender, repr(counts)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _resident(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, field
    return int(found[1]) * 1024


def _prepared(contender: str, args: Scene) -> Callable[[], Any]:
    if contender == "Megvii YOLOX, loop":
        return Megvii(*args).run
    if contender == "torch, batched":
        return functools.partial(simota_torch, *args)
    if contender == "simota":
        return functools.partial(yolox_ops.simota, *args)
    pred_boxes, cls_logits, obj_logits, *rest = args
    return functools.partial(yolox_ops.ota, pred_boxes, cls_logits, *rest, obj_logits=obj_logits)


def _measure(contender: str, counts: list[int]) -> int:
    torch.set_num_threads(2)
    _prepared(contender, scene([1], size=64))()  # loads code, starts threads
    call = _prepared(contender, scene(counts))
    ctypes.CDLL(None).malloc_trim(0)  # or the call would find room that the one before has left
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
    before = _resident("VmRSS")
    results = call()
    kept = sum(t.nbytes for t in tree_leaves(results) if isinstance(t, torch.Tensor))
    return _resident("VmHWM") - before - kept


if __name__ == "__main__":
    print(_measure(sys.argv[1], ast.literal_eval(sys.argv[2])))
