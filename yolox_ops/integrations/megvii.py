"""Megvii's YOLOX and its forks: `patch(model)` replaces the label assignment and the losses of its head by one batched
call. The page docs/megvii.md shows where the line goes."""

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from yolox_ops.explanation import Explanation
from yolox_ops.integrations.megvii_class import is_patched, set_patched, unwatch, watch
from yolox_ops.integrations.megvii_head import SIGNATURES, get_assignments, get_losses, scene
from yolox_ops.integrations.megvii_trial import one_line, refuse_unknown

__all__ = ["explained", "get_assignments", "get_losses", "patch", "patched", "scene", "unpatch"]

Target = TypeVar("Target")

HEADS = ("YOLOXHead", "YoloxHead")
# What the patch uses of a head; mmdetection's class goes by the same name and has others.
_USED = ("get_losses", "get_assignments", "num_classes", "strides", "use_l1", "iou_loss")
_METHODS = ("get_assignments", "get_losses")
_DATA_TYPE = "_data_type_before_yolox_ops"  # where a Trainer keeps it


def patch(target: Target) -> Target:
    """Replaces get_losses and get_assignments of the YOLOX head in `target`, and returns `target`.

    The losses and gradients stay those of the head's own code but for rounding (and where that crashes or divides 0 by
    0), also under autocast, DistributedDataParallel and torch.compile; the parameters stay as they are. There is one
    assignment for the batch and no synchronisation. The positives are counted per process, as the head does. The head
    becomes an object of a subclass of its class, of the same name, and so do its copies, and what is pickled of it.

    Args:
        target: a YOLOXHead (Megvii) or YoloxHead (pixeltable-yolox), a model that holds one, also wrapped by
            DistributedDataParallel, or Megvii's Trainer before it trains. Of a Trainer the model's head is patched and
            data_type becomes float32: with --fp16 it would round labels to half a pixel beyond 512, and autocast does
            not need it.

    Raises:
        TypeError: no head in `target`. ValueError: several; one that is not Megvii's, as mmdetection's; one whose
        losses, on a small made-up batch, are not those that the patch would give, for its rule is one that yolox_ops
        does not know; one of whose two methods somebody else has set on the object; or a Trainer whose experiment makes
        a new model at every get_model().
    """
    if _is_trainer(target):
        trainer: Any = target
        model = trainer.exp.get_model()
        if trainer.exp.get_model() is not model:
            raise ValueError("exp.get_model() must return one model, got another at the second call: patch it in there")
        patch(model)
        vars(trainer).setdefault(_DATA_TYPE, trainer.data_type)
        trainer.data_type = torch.float32
        return target
    head = find_head(target)
    if not is_patched(head):
        _drop_stored(head)
        for name in _METHODS:
            if name in vars(head):
                found = one_line(vars(head)[name])
                raise ValueError(f"{name} must be the method of {type(head).__name__}, got {found} in its place")
        refuse_unknown(head)
        set_patched(head, True)
    return target


def unpatch(target: Target) -> Target:
    """Gives the head in `target` its own methods back, if it was patched, and returns `target`."""
    if _is_trainer(target):
        trainer: Any = target
        trainer.data_type = vars(trainer).pop(_DATA_TYPE, trainer.data_type)
        unpatch(trainer.exp.get_model())
        return target
    head = find_head(target)
    _drop_stored(head)
    if is_patched(head):
        set_patched(head, False)
    return target


@contextlib.contextmanager
def patched(target: Target) -> Iterator[Target]:
    """`with patched(model):` patches, and unpatches at the end what was not patched before."""
    before = _DATA_TYPE in vars(target) if _is_trainer(target) else is_patched(find_head(target))
    try:
        yield patch(target)
    finally:
        if not before:
            unpatch(target)


@contextlib.contextmanager
def explained(target: Any) -> Iterator[list[Explanation]]:
    """`with explained(model) as explanations:` puts an Explanation of every batch that the model trains on onto that
    list: whom simota, by the head's rule, gives which anchors. The losses stay those of the head, patched or not. It
    looks at values, so it is for the model itself, not for what torch.compile(fullgraph=True) made of it, and not for
    copies of it."""
    head, found = find_head(target), list[Explanation]()
    watch(head, found)
    try:
        yield found
    finally:
        unwatch(head, found)


def find_head(target: Any) -> Any:
    """The one YOLOX head in a model or a wrapped one."""
    if not isinstance(target, nn.Module):
        raise TypeError(f"target must be a model, a head or Megvii's Trainer, got {type(target).__name__}")
    heads = [m for m in target.modules() if {c.__name__ for c in type(m).__mro__} & set(HEADS)]
    if not heads:
        raise TypeError(f"target must hold a module of class {' or '.join(HEADS)}, got {type(target).__name__}")
    if len(heads) > 1:
        raise ValueError(f"target must hold one YOLOX head, got {len(heads)}")
    missing = [name for name in _USED if not hasattr(heads[0], name)]
    if missing:
        kind = type(heads[0])
        raise ValueError(f"{kind.__module__}.{kind.__name__} must be Megvii's, got one without {', '.join(missing)}")
    return heads[0]


def _drop_stored(head: Any) -> None:
    """Whoever replaced a method for a while has left it on the object, where it would hide that of the class. Pickles
    of earlier versions have ours there."""
    for name in _METHODS:
        if name in vars(head):
            stored = vars(head).pop(name)
            ours = getattr(stored, "__func__", stored) in (get_losses, *SIGNATURES.values())
            if not ours and stored != getattr(head, name):
                vars(head)[name] = stored


def _is_trainer(target: Any) -> bool:
    return hasattr(target, "data_type") and hasattr(getattr(target, "exp", None), "get_model")
