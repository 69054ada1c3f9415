"""Draws calls: mostly such as the docstrings allow, at times with something wrong."""

import itertools
import math
from random import Random
from typing import Any

import numpy as np
import torch

from fuzz import values
from fuzz.call import Call, is_plain
from fuzz.contracts import Argument, Op, Option
from fuzz.wrong import expand, spoil

SIZES = {
    "B": (0, 1, 1, 1, 2, 2, 3),
    "M": (0, 1, 2, 3, 5, 9),
    "N": (0, 1, 1, 2, 3, 4, 7, 8, 12, 17, 33),
    "G": (0, 1, 1, 2, 3, 6),
    "C": (0, 1, 1, 2, 3, 5, 17),
}
FLOATS = (np.float16, np.float32, np.float64, np.longdouble)
INTEGERS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
MANY = (40, 70, 130, 300)  # more than a block, a vector, a tile


def draw(op: Op, rnd: Random, huge: bool = False) -> Call:
    """`huge`: also tensors of 2^31 and more places, which the process must be allowed no memory for."""
    call = Call(op, tame=rnd.random() < 0.6)
    call.options = {name: _usual(call, option, rnd) for name, option in op.options.items()}
    sizes: dict[str, Any] = {letter: rnd.choice(few) for letter, few in SIZES.items()}
    if rnd.random() < 0.04:
        sizes[rnd.choice("MN")] = rnd.choice(MANY)
    sizes["..."] = [rnd.choice((0, 1, 2, 2, 3)) for _ in range(rnd.choice((0, 0, 1, 1, 2)))]
    grid = _grid(rnd) if "anchor_points" in op.arguments and rnd.random() < 0.4 else None
    if grid:
        sizes["N"] = len(grid)
    common = rnd.choice((torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16))
    mixed = op.room != "yolox_ops._numpy" and rnd.random() < 0.3
    for name, argument in op.arguments.items():
        if argument.optional and rnd.random() < 0.3:
            call.arguments[name] = None
            continue
        dtype = rnd.choice(values.FLOATS) if mixed else common
        if op.room == "yolox_ops._numpy":
            dtype = torch.float64 if common == torch.float64 else torch.float32
        if argument.dtype == "int" or (argument.dtype == "number" and rnd.random() < 0.8):
            narrow = op.room != "yolox_ops._numpy" and rnd.random() < 0.3
            dtype = rnd.choice(values.INTEGERS) if narrow else torch.int64
        call.arguments[name] = _tensor(call, argument, dtype, sizes, grid, rnd)
    if "grad" in call.arguments:  # comes in the dtype of the result
        wide = any(call.arguments[name].dtype == torch.float64 for name in ("boxes1", "boxes2"))
        call.arguments["grad"] = call.arguments["grad"].to(torch.float64 if wide else torch.float32)
    if rnd.random() < 0.3:
        for _ in range(rnd.choice((1, 1, 1, 2))):
            spoil(call, rnd)
    if huge and rnd.random() < 0.01:
        expand(call, rnd)
    return call


def derive(call: Call, rnd: Random) -> Call:
    """The same call but for its options or one of its tensors, for less than a new one takes."""
    new = Call(call.op, dict(call.arguments), dict(call.options), call.tame, dict(call.bytes))
    change = rnd.random()
    if change < 0.12:
        spoil(new, rnd)
    elif change < 0.55:
        new.options = {name: _usual(new, option, rnd) for name, option in call.op.options.items()}
    else:
        name = rnd.choice(list(new.arguments))
        value = new.arguments[name]
        if not is_plain(value):
            return new
        new.bytes.pop(name, None)
        plain_tensor = isinstance(value, torch.Tensor) and not value.requires_grad and value.numel() < 2**20
        if change < 0.7 and plain_tensor:
            new.arguments[name] = values.laid_out(rnd, value)
        elif plain_tensor and value.numel() and value.dtype in (*values.FLOATS, *values.INTEGERS):
            integer = value.dtype in values.INTEGERS
            new.tame = new.tame and integer
            pool = values.WILD_INTEGERS[:4] if integer else values.SPECIAL
            new.arguments[name] = changed = value.clone()
            for special in rnd.choices(pool, k=rnd.choice((1, 1, 3))):
                place = tuple(rnd.randrange(n) for n in changed.shape)
                changed[place] = values.dense([special], (), value.dtype)
    return new


def _usual(call: Call, option: Option, rnd: Random) -> Any:
    """A value that fits, at times as one of NumPy's numbers of the same value."""
    value = rnd.choice(option.usual)
    if call.op.bare or type(value) not in (int, float) or rnd.random() >= 0.1:
        return value
    kinds = (
        INTEGERS
        if option.type == "count"
        else (*FLOATS, *INTEGERS)
        if math.isfinite(value) and value == int(value)
        else FLOATS
    )
    with np.errstate(over="ignore"):
        alike = [kind(value) for kind in kinds if _holds(kind, value)]
    return rnd.choice(alike) if alike else value


def _holds(kind: type, value: float) -> bool:
    """Whether NumPy's type has the number itself."""
    if issubclass(kind, np.integer):
        return np.iinfo(kind).min <= value <= np.iinfo(kind).max
    return float(kind(value)) == value


def _grid(rnd: Random) -> list[tuple[float, float, float]]:
    """x, y, stride of a detector's anchors, level by level."""
    anchors = []
    for stride in rnd.choice(((8,), (8, 16), (4, 8))):
        rows, columns = rnd.randrange(1, 5), rnd.randrange(1, 5)
        places = itertools.product(range(rows), range(columns))
        anchors += [((x + 0.5) * stride, (y + 0.5) * stride, float(stride)) for y, x in places]
    return anchors


def _numbers(call: Call, argument: Argument, count: int, sizes: dict, grid: list | None, rnd: Random) -> list[Any]:
    kind = argument.values
    if kind == "label" or kind == "any":
        few = rnd.choice((1, 2, max(1, sizes["C"])))
        return [rnd.randrange(few) if few <= sizes["C"] or kind == "any" else 0 for _ in range(count)]
    if kind == "num_gts":
        return [rnd.randint(0, sizes["G"]) for _ in range(count)]
    if kind == "point" and grid:
        return [number for x, y, _ in grid for number in (x, y)]
    if kind == "stride" and grid:
        return [stride for _, _, stride in grid]
    if kind in ("box", "cxcywh"):
        return values.boxes(rnd, count // 4, kind == "box" and call.options["fmt"] == "xyxy")
    return values.floats(rnd, count, kind)


def _tensor(call: Call, argument: Argument, dtype: torch.dtype, sizes: dict, grid: list | None, rnd: Random) -> Any:
    shape = []
    for size in argument.sizes:
        if size == "...":
            batch = [n if rnd.random() < 0.8 else 1 for n in sizes["..."]]
            shape += batch[rnd.choice((0, 0, 0, 1)) :]
        else:
            shape.append(int(size) if size.isdecimal() else sizes[size])
    count = math.prod(shape)
    numbers = _numbers(call, argument, count, sizes, grid, rnd)
    assert len(numbers) == count, (argument, shape, len(numbers))
    if argument.dtype == "float" and not call.tame and rnd.random() < 0.5:
        values.spoil(rnd, numbers, values.SPECIAL)
    elif argument.dtype != "float" and rnd.random() < 0.06:
        values.spoil(rnd, numbers, values.WILD_INTEGERS)
    tensor = values.dense(numbers, shape, dtype)
    if rnd.random() < 0.35 and call.op.room != "yolox_ops._numpy":
        tensor = values.laid_out(rnd, tensor)
    if not call.op.on_arrays:
        return tensor
    array = values.as_array(tensor)
    return values.array_laid_out(rnd, array) if rnd.random() < 0.12 else array
