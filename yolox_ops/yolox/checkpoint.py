"""Weights of Megvii YOLOX into the same model here."""

import os
import pickle

import torch
from torch import Tensor, nn

SHOWN = 3  # names in an error; one wrong layer tells as much as a hundred


def load_checkpoint(path: str | os.PathLike, model: nn.Module, *, replace_classes: bool = False) -> list[str]:
    """Loads a checkpoint into `model`, all of it or, on an error, nothing.

    Args:
        path: a file of torch.save: {"model": state dict, ...}, as Megvii's trainer writes it, or a state dict alone.
            No code in the file is run.
        model: a YOLOX of the size that was trained, on any device.
        replace_classes: leave head.cls_preds at its initialisation where the file has another number of classes, to
            train on other objects. Everything else must fit all the same.

    Returns:
        The names in the model's state dict that were left at their initialisation, in its order.

    Raises:
        ValueError: the file holds more than tensors and plain values, or no state dict, or its names or shapes are not
            those of the model. OSError: the file cannot be read.
    """
    state = _read(path)
    own = model.state_dict()
    left = [name for name in own if replace_classes and name in state and _other_classes(name, state[name], own[name])]
    misshapen = [
        f"{name} {list(state[name].shape)} for {list(own[name].shape)}"
        for name in own
        if name in state and name not in left and state[name].shape != own[name].shape
    ]
    wrong = {
        "missing": [name for name in own if name not in state],
        "unexpected": [name for name in state if name not in own],
        "misshapen": misshapen,
    }
    if any(wrong.values()):
        facts = "; ".join(f"{what} {_list(names)}" for what, names in wrong.items() if names)
        raise ValueError(f"{path} must have the names and shapes of the model, got {facts}")
    model.load_state_dict({**state, **{name: own[name] for name in left}})
    return left


def _read(path: str | os.PathLike) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} must hold tensors and plain values only, for nothing in it may run (weights_only=True); if you "
            f'trust it, save its "model" alone to a new file. torch.load says: {error}'
        ) from error
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f'{path} must hold a state dict, alone or under "model", got {_describe(content)}')
    return state


def _describe(content: object) -> str:
    return f"a dict with {_list(list(map(repr, content)))}" if isinstance(content, dict) else type(content).__name__


def _list(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _other_classes(name: str, value: Tensor, own: Tensor) -> bool:
    """Whether it is a class layer that differs in the number of classes and in nothing else."""
    classes = value.dim() == own.dim() and value.shape[:1] != own.shape[:1] and value.shape[1:] == own.shape[1:]
    return name.startswith("head.cls_preds.") and classes
