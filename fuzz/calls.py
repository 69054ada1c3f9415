"""One call: made, judged, and compared."""

import importlib
import itertools
import re
from collections.abc import Callable, Iterator
from enum import IntEnum
from random import Random
from typing import Any

import numpy as np
import torch

from fuzz.call import Call, is_plain
from fuzz.contracts import OPS
from fuzz.draw import derive, draw
from fuzz.exported import can_be_exported, check_exported, check_node
from fuzz.invariants import check_answer, require, tensors_of
from fuzz.reference import by_reference, same_bits
from fuzz.verdict import Verdict, verdict

FAMILY = 8
NODES, EXPORTS = 0.02, 1e-4  # the shares of answers that are written down as a node, and of calls that are exported


class Outcome(IntEnum):
    ANSWERED = 0
    REFUSED = 1
    CROSSED = 2  # answered, with the bits of another way to the same answer
    COMPARED = 3  # answered, and equal to python_ref


def function(call: Call) -> Callable[..., Any]:
    """What the dotted name means; torch.ops.yolox_ops by attributes, all else by import."""
    if call.op.room == "torch.ops.yolox_ops":
        return getattr(torch.ops.yolox_ops, call.op.rule)
    return getattr(importlib.import_module(call.op.room), call.op.rule)


def run(call: Call) -> Any:
    """The call itself: keywords for Python functions, everything by position for bare ones."""
    given, options = dict(call.arguments), call.options
    if call.op.bare:
        return function(call)(*given.values(), *options.values())
    if call.op.rule == "ota":
        options = {**options, "obj_logits": given.pop("obj_logits")}
    return function(call)(*given.values(), **options)


def memory(value: Any) -> bytes | None:
    """All bytes that stand behind an argument, also those between its elements."""
    if isinstance(value, np.ndarray):
        base = value
        while isinstance(base.base, np.ndarray):
            base = base.base
        return base.tobytes() if base.dtype != object else None
    if not isinstance(value, torch.Tensor) or not is_plain(value):
        return None
    storage = value.untyped_storage()
    return torch.empty(0, dtype=torch.uint8).set_(storage).numpy().tobytes()


def shares_memory(call: Call, answer: Any) -> bool:
    outputs = {t.data_ptr() for t in answer if t.numel()}
    return any(isinstance(t, torch.Tensor) and is_plain(t) and t.data_ptr() in outputs for t in call.arguments.values())


def check_refusal(call: Call, error: Exception, wanted: Verdict) -> None:
    """A refusal is a ValueError or TypeError that names an argument and its rule; torch's dispatcher and pybind11
    refuse what is no tensor, or no number, in their own words."""
    words = str(error)
    if wanted == Verdict.EITHER:
        allowed: tuple = (ValueError, TypeError, RuntimeError, MemoryError)
        require(isinstance(error, allowed), f"{type(error).__name__}: {words}")
        return
    require(wanted == Verdict.REFUSE, f"refused, and should not be: {type(error).__name__}: {words}")
    names = "|".join([*call.op.arguments, *call.op.options])
    if re.match(rf"({names})( and ({names}))* must ", words):
        require(isinstance(error, ValueError | TypeError), f"{type(error).__name__} in the words of the house: {words}")
        return
    by_schema = isinstance(error, RuntimeError) and words.startswith(f"yolox_ops::{call.op.rule}() ")
    by_pybind = isinstance(error, TypeError) and "incompatible function arguments" in words
    require(call.op.bare and (by_schema or by_pybind), f"a refusal in other words: {type(error).__name__}: {words}")


def check(call: Call, rnd: Random, counts_are_clamped: bool = False, share: float = 1.0) -> Outcome:
    """Makes the call and raises AssertionError where something is not as documented. `share` of the answers that can be
    are compared with others; counts_are_clamped as in `verdict`."""
    wanted = verdict(call, counts_are_clamped)
    for name, value in call.arguments.items():
        if name not in call.bytes:
            call.bytes[name] = memory(value)
    try:
        answer = run(call)
    except Exception as error:  # judged by its type and words
        check_refusal(call, error, wanted)
        return Outcome.REFUSED
    finally:
        for name, value in call.arguments.items():
            require(call.bytes[name] == memory(value), f"{name} was written to")
    require(wanted != Verdict.REFUSE, "answered, and must be refused")
    if wanted == Verdict.EITHER:
        return Outcome.ANSWERED
    if call.op.room == "yolox_ops" and rnd.random() < NODES:
        check_node(answer)
    if wanted == Verdict.ANSWER and can_be_exported(call) and rnd.random() < EXPORTS:
        check_exported(call, answer, run)
    check_answer(call, answer)
    found = tensors_of(answer)
    require(not shares_memory(call, found), "an answer in the memory of an argument")
    if wanted != Verdict.ANSWER or rnd.random() >= share:
        return Outcome.ANSWERED
    if rnd.random() < 0.5 and by_reference(call, found, rnd):
        return Outcome.COMPARED
    same_bits(call, found, run)
    return Outcome.CROSSED


def calls(name: str, seed: int, first: int, huge: bool = False) -> Iterator[tuple[int, Call]]:
    """Calls number `first` and on of an op, the same in every process: every FAMILY-th is drawn, and those after it are
    derived from it."""
    for number in itertools.count(first - first % FAMILY):
        if number % FAMILY == 0:
            rnd = Random(f"{seed} {name} {number}")
            head = call = draw(OPS[name], rnd, huge)
        else:
            call = derive(head, rnd)
        if number >= first:
            yield number, call
