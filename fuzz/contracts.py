"""What the docstrings allow, as tables: the arguments of each entry point, by its dotted name."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple


class Argument(NamedTuple):
    """A tensor. Sizes are letters, which mean the same in all of a call, or digits; "..." are dimensions that
    broadcast."""

    dtype: str  # "float", "int" or "number", which is either
    sizes: tuple[str, ...]
    values: str  # a name in fuzz/values.py
    optional: bool


class Option(NamedTuple):
    """A number, count, choice or flag. `usual` are values that fit; an unguarded one the bare op takes as it comes."""

    type: str  # "number", "count", "choice" or "flag"
    usual: Sequence[Any]
    fits: Callable[[Any], bool]
    guarded: bool = True


@dataclass(frozen=True)
class Op:
    name: str
    arguments: dict[str, Argument]
    options: dict[str, Option]

    @cached_property
    def rule(self) -> str:
        """The name of the function, by which fuzz/invariants.py knows it."""
        return self.name.rpartition(".")[2]

    @cached_property
    def room(self) -> str:
        """ "yolox_ops", "torch.ops.yolox_ops", "yolox_ops.numpy" or "yolox_ops._numpy"."""
        return self.name.rpartition(".")[0]

    @cached_property
    def bare(self) -> bool:
        """Whether no Python of ours stands before the native code."""
        return self.room in ("torch.ops.yolox_ops", "yolox_ops._numpy")

    @cached_property
    def on_arrays(self) -> bool:
        return self.room.endswith("numpy")


def _arguments(**words: str) -> dict[str, Argument]:
    """ "float? B N: logit" for each."""
    found = {}
    for name, text in words.items():
        left, _, values = text.partition(": ")
        dtype, *sizes = left.split()
        found[name] = Argument(dtype.rstrip("?"), tuple(sizes), values, dtype.endswith("?"))
    return found


def _between(low: float, high: float, *usual: float) -> Option:
    return Option("number", usual, lambda x: low <= x <= high)


def _choice(*names: str) -> Option:
    return Option("choice", names, lambda x: x in names)


def _count(least: int, most: int, *usual: int) -> Option:
    return Option("count", usual, lambda x: least <= x <= most)


MOST = 2**63 - 1
POSITIVE = Option("number", (0.5, 1.5, 2.5, 1, 1e-3, 30.0), lambda x: 0 < x < math.inf)
FMT, KIND = _choice("xyxy", "xywh", "cxcywh"), _choice("iou", "giou", "diou", "ciou")
PAIRWISE = _arguments(boxes1="float ... M 4: box", boxes2="float ... N 4: box")
BATCHED = _arguments(boxes1="float B M 4: box", boxes2="float B N 4: box")
ALIGNED = _arguments(boxes1="float ... 4: box", boxes2="float ... 4: box")
PAIRS = _arguments(boxes1="float N 4: box", boxes2="float N 4: box")
BOX = {"fmt": FMT, "kind": KIND}
SCENE = _arguments(
    pred_boxes="float B N 4: cxcywh",
    cls_logits="float B N C: logit",
    obj_logits="float? B N: logit",
    anchor_points="float N 2: point",
    strides="float N: stride",
    gt_boxes="float B G 4: cxcywh",
    gt_labels="int B G: label",
    num_gts="int? B: num_gts",
)
OTA_SCENE = {name: SCENE[name] for name in SCENE if name != "obj_logits"}
COST = {
    "center_radius": POSITIVE,
    "candidates": _choice("center", "box_or_center", "all"),
    "outside_penalty": _between(0, 1e9, 0, 1.0, 1e5, 1e6, 1e9),
    "cls_weight": _between(0, 1e6, 0, 0.5, 1.0),
    "iou_weight": _between(0, 1e6, 0, 1.0, 3.0),
    "iou_eps": _between(1e-30, 1, 1e-8, 1e-7, 1e-3, 1),
}
MATCH = {"topk": _count(1, MOST, 1, 3, 10, 20, 500, MOST), "k_rounding": _choice("down", "nearest")}
COSTS = _arguments(cost="float B G N: cost", iou="float B G N: iou", num_gts="int? B: num_gts")
OTA = {
    "center_radius": POSITIVE,
    "topk": MATCH["topk"],
    "iou_weight": _between(0, 1e3, 0, 1.5, 5),
    "epsilon": _between(1e-3, 100, 0.05, 0.1, 1.0, 20.0),
    "iterations": _count(1, 1000, 1, 2, 7, 50),
    "tolerance": Option("number", (0.0, 0.05, 1e-3, 1, math.inf), lambda x: x >= 0),
    "focal_alpha": _between(0, 1, 0.25, 0.6, 0, 1),
    "focal_gamma": _between(0, 100, 0, 0.5, 2.0),
}
TRANSPORT = _arguments(cost="float B M N: cost", supply="float B M: mass", demand="float B N: mass")
SINKHORN = {
    "epsilon": _between(1e-6, 1e6, 0.1, 1.0, 10, 0.01),
    "iterations": _count(1, MOST, 1, 2, 7, 50),
    "tolerance": OTA["tolerance"],
}
DETECTIONS = _arguments(boxes="float B N 4: box", scores="float B N: score", labels="number? B N: any")
DETECTION = _arguments(boxes="float N 4: box", scores="float N: score", labels="number? N: any")
FLAG = Option("flag", (False, True), lambda x: True)
CANDIDATES = Option("count", (None, 0, 1, 3, 100, 2**62), lambda x: x is None or 0 <= x <= MOST)
NMS = {
    "method": _choice("hard", "linear", "gaussian", "mean_gaussian"),
    "sigma": POSITIVE._replace(usual=(*POSITIVE.usual, 1e-46, 1e39)),
    "iou_threshold": Option("number", (0.3, 0.5, 0, 0.65, 1, 2.0), lambda x: x >= 0),
    "score_threshold": Option("number", (1e-3, 0.0, 0.2871, -1.0, -math.inf, 1e-46, -1e39), lambda x: x == x),
    "max_detections": CANDIDATES,
    "fmt": FMT,
    "inclusive": FLAG,
}
# What cannot touch bad memory the native code does not look at.
BARE_NMS = {
    **{name: option._replace(guarded=False) if option.type == "number" else option for name, option in NMS.items()},
    "max_detections": _count(-1, MOST, -1, 0, 1, 3, 100, 2**62),
}
BARE_DETECTIONS = {**DETECTIONS, "labels": DETECTIONS["labels"]._replace(dtype="int")}
NMS |= {
    "score_threshold": NMS["score_threshold"]._replace(usual=(*NMS["score_threshold"].usual, None)),
    "max_candidates": CANDIDATES,
    "any_corners": FLAG._replace(usual=(False, False, True)),
}


def _ops(room: str, **tables: tuple[dict, dict]) -> list[Op]:
    return [Op(f"{room}.{name}", arguments, options) for name, (arguments, options) in tables.items()]


OPS = {
    op.name: op
    for op in [
        *_ops(
            "yolox_ops",
            pairwise_iou=(PAIRWISE, BOX),
            aligned_iou=(ALIGNED, BOX),
            iou_loss=(ALIGNED, {**BOX, "reduction": _choice("none", "mean", "sum")}),
            simota_cost=(SCENE, COST),
            dynamic_k_match=(COSTS, MATCH),
            simota=(SCENE, {**COST, **MATCH}),
            ota=({**OTA_SCENE, "obj_logits": SCENE["obj_logits"]}, OTA),
            sinkhorn=(TRANSPORT, SINKHORN),
            soft_nms=(DETECTION, NMS),
            batched_soft_nms=(DETECTIONS, NMS),
        ),
        *_ops(
            "yolox_ops.numpy",
            pairwise_iou=(PAIRWISE, BOX),
            soft_nms=(DETECTION, NMS),
            batched_soft_nms=(DETECTIONS, NMS),
        ),
        *_ops(
            "torch.ops.yolox_ops",
            pairwise_iou=(BATCHED, BOX),
            pairwise_iou_backward=({**_arguments(grad="float B M N: grad"), **BATCHED}, BOX),
            aligned_iou=(PAIRS, BOX),
            aligned_iou_backward=({**_arguments(grad="float N: grad"), **PAIRS}, BOX),
            simota_cost=(SCENE, COST),
            dynamic_k_match=(COSTS, MATCH),
            simota=(SCENE, {**COST, **MATCH}),
            ota=(SCENE, OTA),
            sinkhorn=(TRANSPORT, SINKHORN),
            soft_nms=(BARE_DETECTIONS, BARE_NMS),
        ),
        *_ops("yolox_ops._numpy", pairwise_iou=(BATCHED, BOX), soft_nms=(BARE_DETECTIONS, BARE_NMS)),
    ]
}
