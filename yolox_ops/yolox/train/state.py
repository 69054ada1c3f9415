"""The run's checkpoint: everything that training goes on from."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from yolox_ops._files import written_whole
from yolox_ops.yolox.checkpoint_file import read_checkpoint, seal

LAST, PREVIOUS = "last.pt", "previous.pt"
NEEDED = {"model", "raw", "optimizer", "scaler", "averaged", "step", "evaluated", "best", "random", "recipe", "about"}


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
        content: of last.pt, or else of previous.pt.
        complaint: why it is not last.pt, with the names of both files; "" if it is.
    """

    content: dict[str, Any]
    complaint: str


def last_saved(folder: Path) -> Saved:
    """The last checkpoint of a run that is whole.

    Raises:
        ValueError: neither last.pt nor previous.pt is a whole checkpoint of a run. OSError: there is none, or it cannot
            be read.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    try:
        return Saved(_read(last), "")
    except (FileNotFoundError, ValueError) as error:  # another error may be gone the next time: last.pt is not given up
        if not previous.exists():
            raise
        fault = str(error)
    try:
        content = _read(previous)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} must hold a whole {LAST} or {PREVIOUS}, got neither: {fault}; {error}") from error
    return Saved(content, f"{fault}; going on from {previous}, at step {content['step']}")


def _read(path: Path) -> dict[str, Any]:
    content = read_checkpoint(path)
    if not isinstance(content, dict) or (missing := NEEDED - content.keys()):
        facts = f"{', '.join(sorted(missing))} missing" if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} must be the checkpoint of a run, got {facts}")
    return content


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Of torch's generators; batches have their own, seeded by the step."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """A state dict on the CPU, without what later steps do to the model."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
