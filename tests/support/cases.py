"""A call of every op, of its gradient and of every function of yolox_ops.numpy, large enough for threads to share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from boxes import random_boxes
from scenes import random_scene
from torch import Tensor
from torch.utils._pytree import tree_leaves

import yolox_ops
import yolox_ops.numpy as on_arrays


class Case(NamedTuple):
    function: Callable[..., Any]
    args: tuple
    differentiable: bool = False

    def answer(self, function: Callable[..., Any] | None = None) -> list[bytes]:
        """The bits of what the function, or another in its place, answers; and of the gradients."""
        function, inputs = function or self.function, []
        args = self.args
        if self.differentiable:
            args = inputs = [arg.clone().requires_grad_() for arg in args]
        found = tree_leaves(function(*args))
        if inputs:
            (value,) = found
            found += torch.autograd.grad(value, inputs, torch.linspace(-1, 1, value.numel()).to(value).view_as(value))
        return [bits(x) for x in found]


def bits(x: Tensor | np.ndarray) -> bytes:
    return np.ascontiguousarray(x.detach() if isinstance(x, Tensor) else x).tobytes()


def _nms(method: str, on: Any) -> Callable[..., Any]:
    return lambda *args: tuple(on.batched_soft_nms(*args, method=method))


def _ota(pred_boxes: Tensor, cls_logits: Tensor, obj_logits: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
    return tuple(yolox_ops.ota(pred_boxes, cls_logits, *rest, obj_logits=obj_logits, iterations=20))


def make_cases(dtype: torch.dtype) -> dict[str, Case]:
    """Three images, the second of which is empty."""
    generator = torch.Generator().manual_seed(0)
    scene = tuple(t.to(dtype) if t.is_floating_point() else t for t in random_scene([60, 0, 9], classes=20, size=320))
    boxes, others = random_boxes(3, 1500, extent=400.0).to(dtype), random_boxes(3, 1500, extent=400.0, seed=1).to(dtype)
    scores = torch.rand(3, 1500, generator=generator).to(dtype)
    labels = torch.randint(12, (3, 1500), generator=generator)
    # More boxes than one thread takes.
    crowd = random_boxes(3, 3000, extent=2000.0).to(dtype), torch.rand(3, 3000, generator=generator).to(dtype)
    cost = torch.rand(3, 20, 5000, generator=generator).to(dtype) * 5
    masses = torch.full((3, 20), 250.0), torch.ones(3, 5000)
    simota_cost = yolox_ops.simota_cost(*scene)
    cases = {
        "simota": Case(lambda *args: tuple(yolox_ops.simota(*args)), scene),
        "simota_cost": Case(lambda *args: tuple(yolox_ops.simota_cost(*args)), scene),
        "dynamic_k_match": Case(lambda *args: tuple(yolox_ops.dynamic_k_match(*args)), (*simota_cost, scene[-1])),
        "ota": Case(_ota, scene),
        "sinkhorn": Case(lambda *args: yolox_ops.sinkhorn(*args, iterations=5), (cost, *masses)),
    }
    for method in ("hard", "linear", "gaussian", "mean_gaussian"):
        cases[f"soft_nms {method}"] = Case(_nms(method, yolox_ops), (boxes, scores, labels))
    cases["soft_nms of one label"] = Case(_nms("gaussian", yolox_ops), crowd)
    for kind in ("iou", "giou", "diou", "ciou"):
        cases[f"pairwise_iou {kind}"] = Case(
            lambda a, b, kind=kind: yolox_ops.pairwise_iou(a, b, kind=kind), (boxes[:, :200], others[:, :300]), True
        )
        cases[f"aligned_iou {kind}"] = Case(
            lambda a, b, kind=kind: yolox_ops.aligned_iou(a, b, kind=kind), (boxes, others), True
        )
    a, b = boxes.numpy(), others.numpy()
    cases["numpy pairwise_iou"] = Case(lambda a, b: on_arrays.pairwise_iou(a, b, kind="ciou"), (a, b[:, :400]))
    cases["numpy soft_nms"] = Case(_nms("mean_gaussian", on_arrays), (a, scores.numpy(), labels.numpy()))
    cases["numpy soft_nms of one label"] = Case(_nms("linear", on_arrays), tuple(t.numpy() for t in crowd))
    return cases
