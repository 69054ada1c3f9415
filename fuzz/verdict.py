"""Whether a call must be answered or refused, by a reading of the docstrings that shares no code with the checks."""

import math
from enum import IntEnum
from typing import Any

import numpy as np
import torch

from fuzz.call import Call
from fuzz.contracts import Argument, Option
from fuzz.values import FLOATS, INTEGERS

NUMBERS = (torch.bool, torch.float8_e4m3fn)  # which torch makes float64


class Verdict(IntEnum):
    ANSWER = 0
    CLAMPED = 1  # an answer in spite of a value that a CPU refuses
    EITHER = 2  # torch or pybind11 decide, in their own words
    REFUSE = 3


def verdict(call: Call, counts_are_clamped: bool = False) -> Verdict:
    """`counts_are_clamped`: as on a GPU, no value of a tensor is refused."""
    found = [_argument(call, argument, call.arguments[name]) for name, argument in call.op.arguments.items()]
    found += [_option(call, option, call.options[name]) for name, option in call.op.options.items()]
    if Verdict.EITHER in found:
        return Verdict.EITHER
    if Verdict.REFUSE in found or not _options_fit(call) or not _shapes_fit(call) or not _dtypes_fit(call):
        return Verdict.REFUSE
    if any(math.prod(t.shape) >= 2**28 for t in call.arguments.values() if t is not None):
        return Verdict.EITHER  # may not fit into memory, or into 32 bits
    if _values_fit(call):
        return Verdict.ANSWER
    return Verdict.CLAMPED if counts_are_clamped else Verdict.REFUSE


def _argument(call: Call, argument: Argument, value: Any) -> Verdict:
    if value is None and argument.optional:
        return Verdict.ANSWER
    if call.op.on_arrays:
        return _array(call, argument, value)
    if not isinstance(value, torch.Tensor):
        return Verdict.EITHER if call.op.bare else Verdict.REFUSE
    if value.layout != torch.strided or value.device.type != "cpu":
        return Verdict.EITHER
    allowed = {"float": FLOATS, "int": INTEGERS, "number": (*FLOATS, *INTEGERS, *NUMBERS)}[argument.dtype]
    return Verdict.ANSWER if value.dtype in allowed else Verdict.REFUSE


def _array(call: Call, argument: Argument, value: Any) -> Verdict:
    if not isinstance(value, np.ndarray):
        return Verdict.EITHER  # NumPy decides what is an array
    if type(value) is not np.ndarray:
        return Verdict.EITHER
    if call.op.bare:
        kinds = ("float32", "float64") if argument.dtype == "float" else ("int64",)
        fits = value.flags.c_contiguous and value.flags.aligned and value.dtype.isnative and value.dtype.name in kinds
    else:
        fits = np.can_cast(value.dtype, np.float64)
    return Verdict.ANSWER if fits else Verdict.REFUSE


def _option(call: Call, option: Option, value: Any) -> Verdict:
    if isinstance(value, np.generic) and not call.op.bare:
        value = float(value) if isinstance(value, np.floating) else value.item()  # longdouble's item is one itself
    if option.type == "flag":
        refusal = Verdict.EITHER if call.op.bare else Verdict.REFUSE
        return Verdict.ANSWER if isinstance(value, bool) else refusal
    plain = type(value) in (int, float, str, type(None))
    if call.op.bare and not plain:
        return Verdict.EITHER
    if option.type == "choice":
        fits = isinstance(value, str) and option.fits(value)
    elif option.type == "count":
        fits = (type(value) is int or value is None) and _holds(option, value)
    elif value is None:
        fits = None in option.usual
    else:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        fits = fits and not (isinstance(value, int) and abs(value) >= 2**1023)
        if fits and not option.guarded:
            return Verdict.ANSWER
        fits = fits and option.fits(value)
    return Verdict.ANSWER if fits else Verdict.REFUSE


def _holds(option: Option, value: Any) -> bool:
    return option.fits(value) if value is not None or option.usual[0] is None else False


def _options_fit(call: Call) -> bool:
    """Options that depend on each other."""
    return not call.options.get("any_corners") or call.options["fmt"] == "xyxy"


def _is_empty_set(call: Call, name: str, shape: list[int]) -> bool:
    """[0] stands for [0, 4], and [B, 0] for [B, 0, 4]."""
    if call.op.bare or not name.startswith("boxes"):
        return False
    if call.op.rule.endswith("soft_nms"):
        return len(shape) == len(call.op.arguments[name].sizes) - 1 and shape[-1] == 0
    return call.op.on_arrays and shape == [0]


def _shapes_fit(call: Call) -> bool:
    """Letters must mean one size, batch dimensions broadcast."""
    known: dict[str, int] = {}
    batches = []
    for name, argument in call.op.arguments.items():
        value = call.arguments[name]
        if value is None:
            continue
        sizes, shape = argument.sizes, list(value.shape)
        if _is_empty_set(call, name, shape):
            shape.append(4)
        if call.op.name == "yolox_ops.sinkhorn" and call.arguments["cost"].dim() == 2:
            sizes = sizes[1:]  # one image, without B
        if sizes[0] == "...":
            sizes = sizes[1:]
            batches.append(shape[: max(0, len(shape) - len(sizes))])
            shape = shape[-len(sizes) :]
        if len(shape) != len(sizes):
            return False
        for letter, size in zip(sizes, shape, strict=True):
            if known.setdefault(letter, int(letter) if letter.isdecimal() else size) != size:
                return False
    longest = max(map(len, batches), default=0)
    for sizes_at in zip(*([1] * (longest - len(b)) + b for b in batches), strict=True):
        if len({n for n in sizes_at if n != 1}) > 1:
            return False
    return True


def _dtypes_fit(call: Call) -> bool:
    """Dtypes that depend on each other."""
    if call.op.room == "yolox_ops._numpy":
        floats = {call.arguments[name].dtype for name, a in call.op.arguments.items() if a.dtype == "float"}
        return len(floats) == 1
    if "grad" not in call.arguments:
        return True
    wide = torch.float64 in (call.arguments["boxes1"].dtype, call.arguments["boxes2"].dtype)
    return call.arguments["grad"].dtype == (torch.float64 if wide else torch.float32)


def _values_fit(call: Call) -> bool:
    given = call.arguments
    for name in ("supply", "demand"):
        if name in given and not all(0 <= mass <= 1e12 for mass in given[name].flatten().tolist()):
            return False
    if "num_gts" not in given:
        return True
    labels, boxes = given.get("gt_labels"), given.get("gt_boxes")
    most = (boxes if boxes is not None else given["cost"]).shape[1]
    batch = (boxes if boxes is not None else given["cost"]).shape[0]
    counts = [most] * batch if given["num_gts"] is None else given["num_gts"].tolist()
    if not all(0 <= count <= most for count in counts):
        return False
    if labels is None:
        return True
    classes = given["cls_logits"].shape[2]
    boxes = boxes.to(torch.float64 if given["pred_boxes"].dtype == torch.float64 else torch.float32)
    return all(
        all(0 <= label < classes for label in labels[b, :count].tolist()) and boxes[b, :count].isfinite().all()
        for b, count in enumerate(counts)
    )
