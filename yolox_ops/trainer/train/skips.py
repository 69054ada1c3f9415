"""Steps whose loss or gradient is NaN or infinite."""

from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from yolox_ops.trainer.data.sample import Batch
from yolox_ops.trainer.train.means import LOSSES
from yolox_ops.trainer.train.ranks import Ranks
from yolox_ops.trainer.train.state import save_atomically


class Guard:
    """Tells whether a step is one, and takes back what its forward pass did to the norms' statistics."""

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        # Listed once, for to walk through the modules takes longer than all that is done with the tensors.
        self.parameters, self.buffers, self.ranks = list(model.parameters()), list(model.buffers()), ranks
        self.kept = [buffer.clone() for buffer in self.buffers]

    def keep(self) -> None:
        """To be called before the forward pass."""
        torch._foreach_copy_(self.kept, self.buffers)

    def undo(self) -> None:
        torch._foreach_copy_(self.buffers, self.kept)

    def finite(self, total: Tensor, scaler: torch.amp.GradScaler) -> bool:
        """Whether loss and gradient are, in every process, for all must do a step or none. The host waits for the
        device.

        A scaler that is in use skips gradients by itself and lowers its scale, so that the loss alone counts here.
        """
        bad = ~total.detach().isfinite()
        if not scaler.is_enabled():
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            bad |= ~nn.utils.get_total_norm(gradients).isfinite()
        return not self.ranks.sum(bad.float()).item()


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
