"""The run's checkpoint: everything that training goes on from."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yolox_ops._files import written_whole


def save_atomically(content: dict[str, Any], path: Path) -> None:
    """Writes a file of torch.save that is there whole or not at all, whatever ends the process or the power."""
    with written_whole(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


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
