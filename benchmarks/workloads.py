"""The workloads, a small fixed call of each op, and the process in which benchmarks/instructions.py counts the
instructions of each. A workload is a function `workload_<name>` of benchmarks/bench_<op>.py that prepares the call; its
docstring says the workload in words, which the record keeps."""

import ctypes
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

import yolox_ops

Call = Callable[[], Any]
OPS = sorted(path.stem for path in (Path(yolox_ops.__file__).parent / "ops").glob("[!_]*.py"))
PREFIX = "workload_"


def benches() -> dict[str, ModuleType]:
    """benchmarks/bench_<op>.py of every op."""
    return {op: importlib.import_module(f"benchmarks.bench_{op}") for op in OPS}


def workloads() -> dict[str, Callable[[], Call]]:
    """By name, op after op."""
    return {
        name.removeprefix(PREFIX): value
        for bench in benches().values()
        for name, value in vars(bench).items()
        if name.startswith(PREFIX)
    }


def gradient(function: Callable[..., Tensor], *boxes: Tensor) -> Call:
    """The backward pass of CIoU alone. Boxes [N, 4]."""
    inputs = [b.requires_grad_() for b in boxes]
    value = function(*inputs, kind="ciou")
    ones = torch.ones_like(value)
    return lambda: torch.autograd.grad(value, inputs, ones, retain_graph=True)


def fixed_calls() -> Iterator[tuple[str, str, Call]]:
    """Name, words and call of each workload."""
    for name, prepare in workloads().items():
        yield name, prepare.__doc__ or "", prepare()


def growing_calls() -> Iterator[tuple[str, str, Call]]:
    """Name, words (the same) and call of each size of each op's sweep."""
    for op, bench in benches().items():
        for axis, value in bench.sweep:
            name = f"{op} {axis} {value}"
            yield name, name, bench.sweep.call(axis, value)


def main(what: str, switch: str) -> None:
    """Runs the calls of "ops" or of "growth" twice, the second time under callgrind, which the library `switch`
    (instructions.SWITCH) turns on and off: what only the first call of an op does is no work of its kernel. Prints
    build_info() and the calls in words, as JSON."""
    torch.set_num_threads(1)
    callgrind, said = ctypes.CDLL(switch), {}
    for name, words, call in growing_calls() if what == "growth" else fixed_calls():
        call()
        callgrind.start()
        call()
        callgrind.stop(name.encode())
        said[name] = words
    json.dump({"build": yolox_ops.build_info(), "calls": said}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
