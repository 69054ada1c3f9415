"""Steps whose loss or gradient is NaN or infinite."""

from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from yolox_ops.yolox.data.sample import Batch
from yolox_ops.yolox.train.means import LOSSES
from yolox_ops.yolox.train.ranks import Ranks
from yolox_ops.yolox.train.state import save_atomically


def finite(total: Tensor, model: nn.Module, scaler: torch.amp.GradScaler, ranks: Ranks) -> bool:
    """Whether loss and gradient are, in every process, for all must do a step or none. The host waits for the device.

    A scaler that is in use skips gradients by itself and lowers its scale, so that the loss alone counts here.
    """
    bad = ~total.detach().isfinite()
    if not scaler.is_enabled():
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        bad |= ~nn.utils.get_total_norm(gradients).isfinite()
    return not ranks.sum(bad.float()).item()


def named(sums: Tensor) -> str:
    """The losses of a step in words."""
    return ", ".join(f"{name} {loss:g}" for name, loss in zip(LOSSES, sums[: len(LOSSES)].tolist(), strict=True))


def give_up(folder: Path, ranks: Ranks, batch: Batch, sums: Tensor, about: dict[str, Any]) -> NoReturn:
    """Ends a run of which too many steps in a row were skipped.

    Each process leaves its share of the batch in nan_batch_<rank>.pt for a report: images [B, 3, H, W] uint8, targets,
    losses [5] of LOSSES, and `about`, with the step and how many were skipped.

    Raises:
        FloatingPointError: always.
    """
    path = folder / f"nan_batch_{ranks.rank}.pt"
    content = {"images": batch.images, "targets": batch.targets._asdict(), "losses": sums[: len(LOSSES)].cpu()}
    save_atomically(content | about, path)
    ranks.sum(torch.zeros(1, device=ranks.device))  # waits for the others, which end with the first that does
    raise FloatingPointError(
        f"loss and gradient must be finite, got {named(sums)} at step {about['step']}, the last of {about['skipped']} "
        f"skipped in a row; its batch and the weights are in {path}"
    )
