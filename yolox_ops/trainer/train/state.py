"""The run's checkpoint: everything that training goes on from."""

import dataclasses
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from yolox_ops._arguments import short_repr
from yolox_ops._files import written_whole
from yolox_ops.trainer.train.recipe import Recipe
from yolox_ops.yolox.checkpoint_file import read_checkpoint, seal

LAST, PREVIOUS = "last.pt", "previous.pt"
NEEDED: dict[str, type] = {name: dict for name in ("model", "raw", "optimizer", "scaler", "random", "recipe", "about")}
NEEDED |= {"averaged": int, "step": int, "evaluated": int, "best": float}


def save_atomically(content: dict[str, Any], path: Path, *, previous: Path | None = None) -> None:
    """Writes a file of torch.save that is there whole or not at all, whatever ends the process or the power, and that
    `read_checkpoint` holds to its checksum.

    Args:
        content: tensors and plain values.
        path: of the file.
        previous: what was there becomes this file.

    Raises:
        OSError: the file cannot be written, and what was there still is; the error names `path`.
    """
    with written_whole(path, previous=previous) as temporary, temporary.open("w+b") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # "unexpected pos", of a writer that goes on after a full disk or a killed worker
            if isinstance(error.__context__, (OSError, RuntimeError)):
                raise error.__context__ from error
            raise
        seal(file)
        file.flush()
        os.fsync(file.fileno())


class Saved(NamedTuple):
    """What training goes on from.

    Attributes:
        path: of last.pt, or else of previous.pt.
        content: of that file.
        recipe: of that run.
        complaint: why it is not last.pt, with the names of both files; "" if it is.
    """

    path: Path
    content: dict[str, Any]
    recipe: Recipe
    complaint: str


def last_saved(folder: Path) -> Saved:
    """The last checkpoint of a run that is whole.

    Raises:
        ValueError: neither last.pt nor previous.pt is a whole checkpoint of a run. OSError: there is none, or it cannot
            be read.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    try:
        return _read(last)
    except (FileNotFoundError, ValueError) as error:  # another error may be gone the next time: last.pt is not given up
        if not previous.exists():
            raise
        fault = str(error)
    try:
        saved = _read(previous)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} must hold a whole {LAST} or {PREVIOUS}, got neither: {fault}; {error}") from error
    return saved._replace(complaint=f"{fault}; going on from {previous}, at step {saved.content['step']}")


def _read(path: Path) -> Saved:
    content = read_checkpoint(path)
    if not isinstance(content, dict) or (missing := NEEDED.keys() - content.keys()):
        facts = f"{', '.join(sorted(missing))} missing" if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} must be the checkpoint of a run, got {facts}")
    for name, kind in NEEDED.items():
        if not isinstance(content[name], kind) or isinstance(content[name], bool):
            raise ValueError(f"{name} in {path} must be of type {kind.__name__}, got {short_repr(content[name])}")
    for name in ("averaged", "evaluated", "step"):
        if not 0 <= content[name] <= 2**53:
            raise ValueError(f"{name} in {path} must be in [0, 2^53], got {short_repr(content[name])}")
    if math.isnan(content["best"]):
        raise ValueError(f"best in {path} must be an average precision, got NaN")
    try:
        if odd := content["recipe"].keys() - {field.name for field in dataclasses.fields(Recipe)}:
            raise ValueError(f"also {short_repr(list(odd))}")
        recipe = Recipe(**content["recipe"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"recipe in {path} must be one of this version, got {error}") from error
    return Saved(path, content, recipe, "")


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Of torch's generators; batches have their own, seeded by the step."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(saved: Saved, device: torch.device) -> None:
    """Raises ValueError if it is no state of torch's generators."""
    state = saved.content["random"]
    try:
        torch.set_rng_state(state["cpu"])
        if device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], device)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise ValueError(f"random in {saved.path} must be the state of torch's generators, got {error}") from error


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """A state dict on the CPU, without what later steps do to the model."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
