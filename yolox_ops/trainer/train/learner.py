"""What a run trains, and a step of it."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from yolox_ops.assignment import Assignment
from yolox_ops.trainer.data.sample import Batch
from yolox_ops.trainer.train.means import LOSSES
from yolox_ops.trainer.train.ranks import Ranks
from yolox_ops.trainer.train.recipe import AMP, Recipe
from yolox_ops.trainer.train.skips import Guard
from yolox_ops.trainer.train.state import Saved, random_state, set_random_state, weights
from yolox_ops.yolox.assigners import ASSIGNERS
from yolox_ops.yolox.checkpoint import is_dense, load_weights
from yolox_ops.yolox.model import MODELS


class Learner:
    """A model, the average of its weights, and what moves them.

    Args:
        recipe: the numbers of the run.
        classes: how many.
        ranks: this process among those of the run.
        assigner: of yolox_loss; None: the recipe's.

    Attributes:
        nan_steps: steps skipped in a row, 0 after one that was not.
    """

    def __init__(
        self, recipe: Recipe, classes: int, ranks: Ranks, assigner: Callable[..., Assignment] | None = None
    ) -> None:
        self.recipe, self.device = recipe, ranks.device
        self.assigner = assigner or ASSIGNERS[recipe.assigner]
        torch.manual_seed(recipe.seed)
        model = MODELS[recipe.model](classes)
        # torch's annotations do not know this form of to().
        self.model = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = recipe.average(self.model)
        self.optimizer = recipe.optimizer(self.model)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.amp == "fp16")
        self.guard = Guard(self.model, ranks)
        self.nan_steps = 0

    def set_mode(self) -> None:
        self.model.train()
        if self.recipe.freeze_norm:
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def step(self, model: nn.Module, batch: Batch, *, lr: float, l1: bool) -> Tensor:
        """Forward, loss, backward and update; the losses, positives and objects of this process, [7], on its device.
        `model` is self.model, or its wrapper that runs in parallel with the other processes."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        images = batch.images.to(self.device, non_blocking=True)
        images = images.to(torch.float32, memory_format=torch.channels_last)
        targets = batch.targets.to(self.device, non_blocking=True)
        dtype = AMP[self.recipe.amp]
        self.guard.keep()
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            loss = model(images, targets, l1=l1, assigner=self.assigner)
        self.optimizer.zero_grad()
        self.scaler.scale(loss.total).backward()
        sums = torch.stack([*loss[: len(LOSSES)], loss.num_fg.sum(), targets.num_gts.sum()]).detach()
        if not self.guard.finite(loss.total, self.scaler):
            self.nan_steps += 1
            self.guard.undo()
            return sums
        self.nan_steps = 0
        if self.recipe.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update_parameters(self.model)
        return sums

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, for a checkpoint."""
        return {
            "model": weights(self.average.module),
            "raw": weights(self.model),
            "optimizer": {"state": self.optimizer.state_dict()["state"]},  # the rest is the recipe's
            "scaler": self.scaler.state_dict(),
            "averaged": int(self.average.n_averaged),
            "random": random_state(self.device),
        }

    def load(self, saved: Saved) -> None:
        """Raises ValueError where a value is not of such a learner."""
        path, content = saved.path, saved.content
        load_weights(path, content["raw"], self.model)
        load_weights(path, content["model"], self.average.module)
        self.average.n_averaged.fill_(content["averaged"])
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": self._momentum(saved)})
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(self.scaler.state_dict() | self._scale(saved))
        set_random_state(saved, self.device)

    def _momentum(self, saved: Saved) -> dict[int, dict[str, Tensor]]:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        found = saved.content["optimizer"].get("state")
        if not isinstance(found, dict) or not found.keys() <= set(range(len(parameters))):
            raise ValueError(f"optimizer in {saved.path} must have a state of {len(parameters)} parameters at most")
        momentum = {}
        for i, entry in found.items():
            value = entry.get("momentum_buffer") if isinstance(entry, dict) else None
            if not isinstance(value, Tensor) or not is_dense(value) or value.shape != parameters[i].shape:
                raise ValueError(f"optimizer in {saved.path} must have the momentum of each parameter, not so of {i}")
            # A file may hold a number once for many elements.
            momentum[i] = {"momentum_buffer": value.to(parameters[i].dtype, copy=True)}
        return momentum

    def _scale(self, saved: Saved) -> dict[str, Any]:
        scale, since = (saved.content["scaler"].get(name) for name in ("scale", "_growth_tracker"))
        fits = isinstance(scale, float) and 0 < scale < math.inf and isinstance(since, int) and 0 <= since < 2**31
        if not fits:
            raise ValueError(f"scaler in {saved.path} must have a positive scale, and the steps since it grew")
        return {"scale": scale, "_growth_tracker": since}
