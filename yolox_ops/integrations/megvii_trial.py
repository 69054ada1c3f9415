"""Whether a head has a rule of Megvii's: its own losses beside ours, on made-up batches."""

import contextlib
import functools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from yolox_ops._arguments import short_repr
from yolox_ops.integrations.megvii_head import get_losses, rule_name

TERMS = ("total", "box", "obj", "cls", "l1", "num_fg")


def one_line(value: object) -> str:
    return " ".join(short_repr(value).split())


def refuse_unknown(head: Any) -> None:
    """Compares the losses on three batches, each also with the L1 term.

    Raises:
        ValueError: the head's own code does not run on them, or gives something else.
    """
    name, strides = type(head).__name__, _strides(head)
    for seed in range(3):
        batch = _made_up_batch(strides, head.num_classes, seed)
        for use_l1 in (False, True):
            before, head.use_l1 = head.use_l1, use_l1
            try:
                with _plain_torch():
                    theirs = [float(term) for term in type(head).get_losses(head, *batch)]
                    ours = [float(term) for term in get_losses(head, *batch)]
            except Exception as error:
                raise ValueError(
                    f"{name}.get_losses must run on a made-up batch of Megvii's, got {one_line(error)}"
                ) from error
            finally:
                head.use_l1 = before
            if len(theirs) != len(ours):
                raise ValueError(f"{name}.get_losses must return {len(ours)} values, got {len(theirs)}")
            for term, wanted, new in zip(TERMS, theirs, ours, strict=True):
                if not abs(wanted - new) <= 1e-4 * abs(wanted):
                    raise ValueError(
                        f"{name} must have a rule of Megvii's; on a made-up batch its {term} is {wanted:.6g}, "
                        f"and {new:.6g} by the rule {rule_name(head)!r}"
                    )


@contextlib.contextmanager
def _plain_torch() -> Iterator[None]:
    """What a fresh process computes with, on the CPU, whatever was set in this one; without gradients, and drawing
    nothing from its generator."""
    dtype = torch.get_default_dtype()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())  # of how it spells autocast
        warnings.simplefilter("ignore")
        stack.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        stack.callback(torch.use_deterministic_algorithms, strict, warn_only=warn_only)
        torch.use_deterministic_algorithms(False)
        for plain in (
            torch.device("cpu"),
            torch.autocast("cpu", enabled=False),
            torch.inference_mode(False),
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
        ):
            stack.enter_context(plain)
        yield


def _strides(head: Any) -> list[float]:
    """Of each level, in pixels: numbers of any kind."""
    strides = [float(stride) for stride in head.strides]
    if not strides or not all(0 < stride < math.inf for stride in strides):
        raise ValueError(f"strides of {type(head).__name__} must be positive and finite, got {one_line(head.strides)}")
    return strides


@_plain_torch()
def _made_up_batch(strides: list[float], num_classes: int, seed: int) -> tuple:
    """Arguments of get_losses on the CPU: two images with 3 and 2 objects, of 16 x 16 cells of the smallest stride."""
    generator = torch.Generator().manual_seed(seed)
    random = functools.partial(torch.rand, generator=generator)
    side = 16 * min(strides)
    cells = [_cells(math.ceil(side / stride)) for stride in strides]
    x, y = torch.cat(cells).T[:, None]
    steps = torch.cat([torch.full((1, len(level)), stride) for level, stride in zip(cells, strides, strict=True)], 1)
    N, step = steps.shape[1], steps[0, :, None]
    raw_boxes = random(2, N, 4) * 2 - 0.5
    centre = (torch.cat(cells) + raw_boxes[..., :2]) * step
    logits = random(2, N, 1 + num_classes) * 6 - 4
    outputs = torch.cat([centre, raw_boxes[..., 2:].exp() * step, logits], -1)
    gt_boxes = torch.cat([random(2, 5, 2), (1 + random(2, 5, 2) * 10) / 16], -1) * side
    labels = torch.cat([(random(2, 5, 1) * num_classes).floor(), gt_boxes], -1)
    labels[0, 3:], labels[1, 2:] = 0, 0
    return None, [x], [y], [steps], labels, outputs, [raw_boxes], outputs.dtype


def _cells(side: int) -> Tensor:
    """[side * side, 2], x and y of the cells of a level, row after row."""
    x, y = torch.meshgrid(*[torch.arange(side, dtype=torch.float32)] * 2, indexing="xy")
    return torch.stack([x, y], -1).view(-1, 2)
