"""Other ways to the same answer: python_ref, the same values row by row, NumPy beside torch, two ops for one."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch.testing import assert_close

import yolox_ops
import yolox_ops.numpy
from fuzz.call import Call
from fuzz.invariants import as_tensors, counts_of, tensors_of
from yolox_ops._arguments import as_number

# When an answer counts as right is a matter of the suite.
sys.path.append(str(Path(__file__).parents[1] / "tests/support"))
import matching
import selection
import transport
from scenes import take_image

from python_ref.aligned_iou import aligned_iou
from python_ref.dynamic_k_match import dynamic_k_match
from python_ref.pairwise_iou import pairwise_iou
from python_ref.simota_cost import simota_cost
from python_ref.sinkhorn import sinkhorn


def same_bits(call: Call, found: list[torch.Tensor], run: Callable[[Call], Any]) -> None:
    """The same call on tensors that lie row by row; of simota also in two ops, of NumPy's functions also on tensors."""
    given = {name: t.contiguous() if isinstance(t, torch.Tensor) else t for name, t in as_tensors(call).items()}
    if call.op.room == "yolox_ops.numpy":
        options = {name: v.item() if isinstance(v, np.generic) else v for name, v in call.options.items()}
        again = getattr(yolox_ops, call.op.rule)(*given.values(), **options)
    elif call.op.on_arrays:
        again = getattr(torch.ops.yolox_ops, call.op.rule)(*given.values(), *call.options.values())
    elif call.op.name == "yolox_ops.simota":
        options = dict(call.options)
        k = {name: options.pop(name) for name in ("topk", "k_rounding")}
        again = yolox_ops.dynamic_k_match(*yolox_ops.simota_cost(*given.values(), **options), given["num_gts"], **k)
    else:
        again = run(Call(call.op, given, call.options))
    assert_close(tensors_of(again), found, rtol=0, atol=0, equal_nan=True)


def _close(found: torch.Tensor, wanted: list, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    assert_close(found.double(), torch.tensor(wanted, dtype=torch.float64).reshape(found.shape), rtol=rtol, atol=atol)


def _pairwise(found: list[torch.Tensor], given: dict, options: dict) -> None:
    batch = torch.broadcast_shapes(given["boxes1"].shape[:-2], given["boxes2"].shape[:-2])
    sets = [given[name].double().expand(*batch, *given[name].shape[-2:]) for name in ("boxes1", "boxes2")]
    first, second = (boxes.reshape(math.prod(batch), *boxes.shape[-2:]).tolist() for boxes in sets)
    _close(found[0], [pairwise_iou(a, b, **options) for a, b in zip(first, second, strict=True)])


def _aligned(found: list[torch.Tensor], given: dict, options: dict) -> None:
    first, second = torch.broadcast_tensors(given["boxes1"].double(), given["boxes2"].double())
    _close(found[0], aligned_iou(first.reshape(-1, 4).tolist(), second.reshape(-1, 4).tolist(), **options))


def _iou_loss(found: list[torch.Tensor], given: dict, options: dict) -> None:
    kinds = {name: value for name, value in options.items() if name != "reduction"}
    first, second = torch.broadcast_tensors(given["boxes1"].double(), given["boxes2"].double())
    loss = [1 - s for s in aligned_iou(first.reshape(-1, 4).tolist(), second.reshape(-1, 4).tolist(), **kinds)]
    total = math.fsum(loss)
    wanted = {"none": loss, "sum": [total], "mean": [total / max(len(loss), 1)]}[options["reduction"]]
    _close(found[0], wanted)


def _simota_cost(found: list[torch.Tensor], given: dict, options: dict) -> None:
    scene, (cost, iou) = yolox_ops.Scene(**given), found
    for b, count in enumerate(counts_of(given, cost.shape[1], len(cost)).tolist()):
        wanted = simota_cost(*take_image(scene, b), **options)
        _close(cost[b, :count], wanted[0], atol=1e-4)
        _close(iou[b, :count], wanted[1])


def _simota(found: list[torch.Tensor], given: dict, options: dict) -> None:
    matching.check_against_reference(yolox_ops.Assignment(*found), yolox_ops.Scene(**given), **options)


def _ota(found: list[torch.Tensor], given: dict, options: dict) -> None:
    if found[0].shape[1]:
        transport.check_against_reference(yolox_ops.Assignment(*found), yolox_ops.Scene(**given), **options)


def _dynamic_k_match(found: list[torch.Tensor], given: dict, options: dict) -> None:
    cost, iou = given["cost"].double(), given["iou"].double()
    B, G, N = cost.shape
    for b, count in enumerate(counts_of(given, G, B).tolist()):
        wanted = dynamic_k_match(cost[b, :count].tolist(), iou[b, :count].tolist(), **options)
        gts, overlaps, num_fg = wanted if count else ([-1] * N, [0.0] * N, 0)
        assert (found[0][b].tolist(), int(found[2][b])) == (gts, num_fg), wanted
        _close(found[1][b], overlaps)


def _sinkhorn(found: list[torch.Tensor], given: dict, options: dict) -> None:
    if options["tolerance"] > 0:  # which iteration is the last may turn on rounding
        return
    cost, supply, demand = (given[name].double() for name in ("cost", "supply", "demand"))
    if cost.dim() == 2:
        cost, supply, demand, found = cost[None], supply[None], demand[None], [found[0][None]]
    for b, plan in enumerate(found[0]):
        wanted = sinkhorn(cost[b].tolist(), supply[b].tolist(), demand[b].tolist(), **options)
        _close(plan, wanted, rtol=1e-3, atol=1e-4)


def _soft_nms(found: list[torch.Tensor], given: dict, options: dict) -> None:
    rule = dict(options)
    if rule["max_detections"] == -1:
        rule["max_detections"] = None
    if len(found) == 2:
        selection.check_selection(found, *given.values(), **rule)
        return
    for b, count in enumerate(found[2].tolist()):
        image = [None if t is None else t[b] for t in given.values()]
        selection.check_selection((found[0][b, :count], found[1][b, :count]), *image, **rule)


REFERENCES = {
    "pairwise_iou": _pairwise,
    "aligned_iou": _aligned,
    "iou_loss": _iou_loss,
    "simota_cost": _simota_cost,
    "simota": _simota,
    "ota": _ota,
    "dynamic_k_match": _dynamic_k_match,
    "sinkhorn": _sinkhorn,
    "soft_nms": _soft_nms,
    "batched_soft_nms": _soft_nms,
}
SLOW = {"ota": 0.1, "sinkhorn": 0.2}  # the share of references that are worth their time


def by_reference(call: Call, found: list[torch.Tensor], rnd: Random) -> bool:
    """Whether the answer could be compared with python_ref."""
    few = sum(t.numel() for t in found) <= 400
    able = call.tame and few and call.op.rule in REFERENCES and rnd.random() < SLOW.get(call.op.rule, 1)
    if able:
        options = {name: as_number(value) for name, value in call.options.items()}  # NumPy's round what they meet
        REFERENCES[call.op.rule](found, as_tensors(call), options)
    return able
