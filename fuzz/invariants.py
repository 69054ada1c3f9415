"""What holds of every answer."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fuzz.call import Call

INT, F32, F64 = torch.int64, torch.float32, torch.float64


def require(holds: Any, words: str) -> None:
    if not bool(holds):
        raise AssertionError(words)


def tensors_of(answer: Any) -> list[Tensor]:
    found = answer if isinstance(answer, tuple) else (answer,)
    return [torch.from_numpy(np.array(t)) if isinstance(t, np.ndarray) else t for t in found]


def as_tensors(call: Call) -> dict[str, Any]:
    """The arguments of a call that was answered; arrays become tensors of the same values."""
    return {name: _as_tensor(call, name, value) for name, value in call.arguments.items()}


def _as_tensor(call: Call, name: str, value: Any) -> Any:
    if value is not None and name.startswith("boxes") and value.shape[-1:] == (0,):  # no boxes, as [0] or [B, 0]
        value = value.reshape(*value.shape, 4)
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind in "iub" and call.op.arguments[name].dtype == "float":
        value = value.astype(np.result_type(np.float32, value.dtype))
    if value.dtype.name == "bfloat16":
        return torch.from_numpy(value.astype(np.float32)).bfloat16()
    if value.dtype.kind == "u":  # of these torch knows the narrowest only
        return torch.from_numpy(value.astype(np.int64))
    return torch.from_numpy(np.ascontiguousarray(value).astype(value.dtype.newbyteorder("="), copy=True))


def wide(*tensors: Tensor) -> torch.dtype:
    return F64 if any(t.dtype == F64 for t in tensors) else F32


def has_form(answer: list[Tensor], *forms: tuple[list[int], torch.dtype]) -> None:
    found = [(list(t.shape), t.dtype) for t in answer]
    require(found == list(forms), f"the answer has the form {found}, not {list(forms)}")


def check_answer(call: Call, answer: Any) -> None:
    """Raises AssertionError unless shapes, dtypes and what the docstring says of values hold."""
    given, found = as_tensors(call), tensors_of(answer)
    with torch.no_grad():
        if call.op.rule == "sinkhorn" and given["cost"].dim() == 2:  # one image, without B
            given, found = {name: t[None] for name, t in given.items()}, [found[0][None]]
        RULES[call.op.rule](found, given, call.options, call.tame)


def _similar(found: list[Tensor], given: dict, options: dict, tame: bool, aligned: bool) -> None:
    first, second = given["boxes1"], given["boxes2"]
    if aligned:
        shape = list(torch.broadcast_shapes(first.shape, second.shape))[:-1]
    else:
        batch = list(torch.broadcast_shapes(first.shape[:-2], second.shape[:-2]))
        shape = [*batch, first.shape[-2], second.shape[-2]]
    has_form(found, (shape, wide(first, second)))
    if not found[0].numel():
        return
    dtype = found[0].dtype
    nan1, nan2 = (boxes.to(dtype).isnan().any(-1) for boxes in (first, second))
    nan = nan1 | nan2 if aligned else nan1[..., :, None] | nan2[..., None, :]
    require(found[0].isnan()[nan.expand(shape)].all(), "a box with a NaN must give NaN")
    if tame:
        require(not found[0].isnan().any(), "NaN without a NaN in a box")
    if options["kind"] == "iou":
        require(not ((found[0] < 0) | (found[0] > 1)).any(), "IoU outside [0, 1]")


def pairwise_iou(found: list[Tensor], given: dict, options: dict, tame: bool) -> None:
    _similar(found, given, options, tame, False)


def aligned_iou(found: list[Tensor], given: dict, options: dict, tame: bool) -> None:
    _similar(found, given, options, tame, True)


def iou_loss(found: list[Tensor], given: dict, options: dict, tame: bool) -> None:
    first, second = given["boxes1"], given["boxes2"]
    pairs = list(torch.broadcast_shapes(first.shape, second.shape))[:-1]
    has_form(found, (pairs if options["reduction"] == "none" else [], wide(first, second)))
    require(found[0].numel() > 1 or math.prod(pairs) or not found[0].any(), "a loss without a pair")
    if tame:
        require(not found[0].isnan().any(), "NaN without a NaN in a box")


def backward(found: list[Tensor], given: dict, options: dict, tame: bool) -> None:
    first, second, grad = given["boxes1"], given["boxes2"], given["grad"]
    has_form(found, (list(first.shape), first.dtype), (list(second.shape), second.dtype))
    if not (grad != 0).any():
        require(not any((t != 0).any() for t in found), "a gradient of 0 must pass back 0")
    if tame:
        require(not any(t.isnan().any() for t in found), "a NaN in the gradient of boxes without any")


def counts_of(given: dict, rows: int, images: int) -> Tensor:
    if given["num_gts"] is None:
        return torch.full((images,), rows)
    return torch.tensor([min(max(count, 0), rows) for count in given["num_gts"].tolist()], dtype=INT)


def simota_cost(found: list[Tensor], given: dict, options: dict, tame: bool) -> None:
    B, N, _ = given["pred_boxes"].shape
    G = given["gt_boxes"].shape[1]
    has_form(found, ([B, G, N], F64), ([B, G, N], wide(given["pred_boxes"])))
    cost, iou = found
    require(not ((iou < 0) | (iou > 1) | iou.isnan()).any(), "an overlap outside [0, 1]")
    require((iou[cost == math.inf] == 0).all(), "an overlap where no pair can be")
    padding = torch.arange(G)[None] >= counts_of(given, G, B)[:, None]
    require((cost[padding] == math.inf).all(), "a finite cost in padding")
    if tame:
        require(not cost.isnan().any(), "a NaN cost without a NaN")


def _assigned(found: list[Tensor], given: dict, B: int, N: int, G: int) -> Tensor:
    has_form(found, ([B, N], INT), ([B, N], F32), ([B], INT))
    gt, iou, num_fg = found
    counts = counts_of(given, G, B)
    require(((gt >= -1) & (gt < counts[:, None])).all(), "a ground truth that there is not")
    require(((gt >= 0).sum(-1) == num_fg).all(), "num_fg is not the number of positives")
    require((iou[gt < 0] == 0).all(), "an overlap of background")
    require(not iou.isnan().any(), "a NaN in matched_iou")
    return gt


def assignment(found: list[Tensor], given: dict, options: dict, tame: bool) -> None:
    B, N, _ = given["pred_boxes"].shape
    _assigned(found, given, B, N, given["gt_boxes"].shape[1])
    require(not ((found[1] < 0) | (found[1] > 1)).any(), "an overlap outside [0, 1]")


def dynamic_k_match(found: list[Tensor], given: dict, options: dict, tame: bool) -> None:
    cost, iou = given["cost"], given["iou"]
    B, G, N = cost.shape
    gt = _assigned(found, given, B, N, G)
    if not G:
        return
    row = gt.clamp(min=0)[:, None]
    require((cost.double().gather(1, row)[:, 0][gt >= 0] != math.inf).all(), "a pair that may never match")
    overlap = iou.float().gather(1, row)[:, 0].nan_to_num(nan=0.0, posinf=math.inf, neginf=-math.inf)
    require((found[1][gt >= 0] == overlap[gt >= 0]).all(), "matched_iou is not the pair's")


def sinkhorn(found: list[Tensor], given: dict, options: dict, tame: bool) -> None:
    cost, supply = given["cost"], given["supply"]
    dtype = wide(cost)
    has_form(found, (list(cost.shape), dtype))
    plan = found[0]
    require((plan >= 0).all() and plan.isfinite().all(), "a mass that is negative or no number")
    able = (cost.double() / options["epsilon"]).abs() <= 2**40
    require((plan[~able] == 0).all(), "mass of a pair that can have none")
    if cost.shape[2]:
        masses = supply.double()  # on a GPU one that is none counts 0
        want = (torch.where((masses >= 0) & (masses <= 1e12), masses, 0.0) + 1e-8)[able.any(-1)]
        sums = plan.double().sum(-1)[able.any(-1)]
        require(((sums - want).abs() <= 1e-3 * want).all(), "a row's sum is not its supply")


def batched_soft_nms(found: list[Tensor], given: dict, options: dict, tame: bool) -> None:
    boxes, scores = given["boxes"], given["scores"]
    B, N, _ = boxes.shape
    most = options["max_detections"]
    K = N if most is None or most == -1 else min(most, N)
    has_form(found, ([B, K], INT), ([B, K], wide(boxes, scores)), ([B], INT))
    indices, decayed, counts = found
    require(((counts >= 0) & (counts <= K)).all(), "a count outside [0, K]")
    for b, count in enumerate(counts.tolist()):
        _selected(indices[b, :count], decayed[b, :count], scores[b], options)
        require((indices[b, count:] == -1).all() and (decayed[b, count:] == 0).all(), "something past the count")


def soft_nms(found: list[Tensor], given: dict, options: dict, tame: bool) -> None:
    if len(found) == 3:
        batched_soft_nms(found, given, options, tame)
        return
    K = len(found[0])
    has_form(found, ([K], INT), ([K], wide(given["boxes"], given["scores"])))
    most = options["max_detections"]
    require(len(given["scores"][:most]) >= K, "more than max_detections")
    _selected(*found, given["scores"], options)


def _selected(indices: Tensor, decayed: Tensor, scores: Tensor, options: dict) -> None:
    chosen = indices.tolist()
    require(len(set(chosen)) == len(chosen), "a box selected twice")
    require(all(0 <= i < len(scores) for i in chosen), "a box that there is not")
    require(not decayed.isnan().any(), "a NaN score selected")
    threshold = options["score_threshold"]
    threshold = torch.tensor(-math.inf if threshold is None else float(threshold), dtype=decayed.dtype)
    require(not (decayed < threshold).any(), "a score below score_threshold")
    if threshold >= 0:  # scores below 0 rise as they decay
        require((decayed[1:] <= decayed[:-1]).all(), "scores that are not in order")
        if 0 < options["sigma"] < math.inf:
            require((decayed <= scores[indices].to(decayed.dtype)).all(), "a score that rose")


RULES: dict[str, Callable[[list[Tensor], dict, dict, bool], None]] = {
    "pairwise_iou": pairwise_iou,
    "aligned_iou": aligned_iou,
    "iou_loss": iou_loss,
    "pairwise_iou_backward": backward,
    "aligned_iou_backward": backward,
    "simota_cost": simota_cost,
    "simota": assignment,
    "ota": assignment,
    "dynamic_k_match": dynamic_k_match,
    "sinkhorn": sinkhorn,
    "batched_soft_nms": batched_soft_nms,
    "soft_nms": soft_nms,
}
