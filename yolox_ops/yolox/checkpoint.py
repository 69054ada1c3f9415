"""Weights of a file into a model, and a model from a file alone."""

import os
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from yolox_ops._arguments import LARGEST_SIDE, check_choice, short_repr
from yolox_ops.yolox.anchors import STRIDES
from yolox_ops.yolox.checkpoint_file import read_checkpoint
from yolox_ops.yolox.model import MODELS, YOLOX, input_size

SHOWN = 3  # names in an error; one wrong layer tells as much as a hundred
MOST_CLASSES = 2**16  # a tensor can claim any number of them without a byte for it


def load_checkpoint(path: str | os.PathLike, model: nn.Module, *, replace_classes: bool = False) -> list[str]:
    """Loads a checkpoint into `model`, all of it or, on an error, nothing.

    Args:
        path: a file of torch.save: {"model": state dict, ...}, as Megvii's trainer writes it, or a state dict alone.
            No code in the file is run. Weights may be of any floating-point dtype, and become the model's.
        model: a YOLOX of the size that was trained, on any device.
        replace_classes: leave head.cls_preds at its initialisation where the file has another number of classes, to
            train on other objects. Everything else must fit all the same.

    Returns:
        The names in the model's state dict that were left at their initialisation, in its order.

    Raises:
        ValueError: what read_checkpoint raises, the file holds no state dict, or its names or shapes are not those of
            the model, or are not dense and real. OSError: the file cannot be read.
    """
    return load_weights(path, read_checkpoint(path), model, replace_classes=replace_classes)


def load_weights(
    path: str | os.PathLike, content: Any, model: nn.Module, *, replace_classes: bool = False
) -> list[str]:
    """load_checkpoint of what was read; `path` is for errors."""
    return _load(path, _state(path, content), model, replace_classes)


class Settings(NamedTuple):
    """What a checkpoint says of its model.

    Attributes:
        model: its name in MODELS.
        class_names: one for each class; "0", "1", ... where the file does not name them.
        height, width: pixels of the images it was trained on, multiples of 32; where the file does not say, those of
            Megvii's release: 416 x 416 for yolox_nano and yolox_tiny, 640 x 640 for the others.
        named: whether the file names the classes.
    """

    model: str
    class_names: tuple[str, ...]
    height: int
    width: int
    named: bool


def open_model(path: str | os.PathLike, *, name: str | None = None) -> tuple[YOLOX, Settings]:
    """Builds the model that a checkpoint is of, with its weights, on the CPU and in eval mode.

    Args:
        path: a file that load_checkpoint reads. This package's trainer writes "settings" beside "model": {"model": a
            name in MODELS, "class_names": [...], "height": pixels, "width": pixels}; Megvii's files have none. The
            number of classes is read off the weights.
        name: a name in MODELS, for a file without settings; with them it must agree.

    Raises:
        ValueError: the file has no settings and there is no name, or the two disagree; the settings are not such; or
            what load_checkpoint raises. OSError: the file cannot be read.
    """
    if name is not None:
        check_choice("name", name, list(MODELS))
    content = read_checkpoint(path)
    state = _state(path, content)
    bias = state.get("head.cls_preds.0.bias")
    if bias is None or bias.dim() != 1 or not len(bias):
        found = _list(list(state)) or "nothing"
        raise ValueError(f"{path} must hold head.cls_preds.0.bias [C] of a YOLOX, got {found}")
    if len(bias) > MOST_CLASSES:
        raise ValueError(f"{path} must have {MOST_CLASSES} classes at most, got {len(bias)}")
    settings = _settings(path, content.get("settings"), name, len(bias))
    model = MODELS[settings.model](len(bias))
    _load(path, state, model, replace_classes=False)
    return model.eval(), settings


def _settings(path: str | os.PathLike, found: Any, name: str | None, num_classes: int) -> Settings:
    if found is None:
        if name is None:
            raise ValueError(f"the model of {path}, which has no settings, must be named: one of {', '.join(MODELS)}")
        side = input_size(name)
        return Settings(name, tuple(map(str, range(num_classes))), side, side, named=False)
    if not isinstance(found, dict) or (missing := {"model", "class_names", "height", "width"} - found.keys()):
        facts = _list(sorted(missing)) + " missing" if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"settings of {path} must be a dict with model, class_names, height and width, got {facts}")
    check_choice(f"model in the settings of {path}", found["model"], list(MODELS))
    if name not in (None, found["model"]):
        raise ValueError(f"name must be that in the settings of {path}, {found['model']!r}, got {name!r}")
    names = found["class_names"]
    if not isinstance(names, list | tuple) or [type(n) for n in names] != [str] * num_classes:
        raise ValueError(
            f"class_names in the settings of {path} must be {num_classes} strings, got {short_repr(names)}"
        )
    height, width = found["height"], found["width"]
    if any(type(side) is not int or not 1 <= side <= LARGEST_SIDE or side % STRIDES[-1] for side in (height, width)):
        rule = f"must be positive multiples of {STRIDES[-1]} up to {LARGEST_SIDE}"
        raise ValueError(
            f"height and width in the settings of {path} {rule}, got {short_repr(height)} and {short_repr(width)}"
        )
    return Settings(found["model"], tuple(names), height, width, named=True)


def _load(path: str | os.PathLike, state: dict[str, Tensor], model: nn.Module, replace_classes: bool) -> list[str]:
    wanted = model.state_dict()
    shared = [name for name in wanted if name in state]
    left = [name for name in shared if replace_classes and _other_classes(name, state[name], wanted[name])]
    misshapen = [
        f"{name} {list(state[name].shape)} for {list(wanted[name].shape)}"
        for name in shared
        if name not in left and state[name].shape != wanted[name].shape
    ]
    kinds = [
        f"{name} {state[name].dtype} for {wanted[name].dtype}"
        for name in shared
        if state[name].is_floating_point() != wanted[name].is_floating_point()
    ]
    wrong = {
        "missing": [name for name in wanted if name not in state],
        "unexpected": [name for name in state if name not in wanted],
        "misshapen": misshapen,
        "of another kind": kinds,
    }
    if any(wrong.values()):
        facts = "; ".join(f"{what} {_list(names)}" for what, names in wrong.items() if names)
        raise ValueError(f"{path} must have the names and shapes of the model, got {facts}")
    model.load_state_dict({**state, **{name: wanted[name] for name in left}})
    return left


def _state(path: str | os.PathLike, content: Any) -> dict[str, Tensor]:
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise ValueError(f'{path} must hold a state dict, alone or under "model", got {_describe(content)}')
    odd = [name for name, value in state.items() if not is_dense(value)]
    if odd:
        raise ValueError(f"{path} must hold dense tensors of real numbers, got {_list(odd)}")
    return state


def is_dense(value: Tensor) -> bool:
    odd = value.is_meta or value.is_quantized or value.is_nested or value.is_complex()
    return value.layout == torch.strided and not odd


def _describe(content: object) -> str:
    if not isinstance(content, dict):
        return type(content).__name__
    return f"a dict with {_list([short_repr(key) for key in content])}"


def _list(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _other_classes(name: str, value: Tensor, wanted: Tensor) -> bool:
    """Whether it is a class layer that differs in the number of classes and in nothing else."""
    classes = value.shape[:1] != wanted.shape[:1] and value.shape[1:] == wanted.shape[1:]
    return name.startswith("head.cls_preds.") and value.dim() == wanted.dim() and classes
