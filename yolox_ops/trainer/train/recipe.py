"""Every number of a training run, with Megvii's defaults (yolox/exp/yolox_base.py) and the paper's names."""

import dataclasses
import math

import torch
from torch import Tensor, nn

from yolox_ops._arguments import (
    LARGEST_SIDE,
    as_number,
    check_at_least,
    check_between,
    check_choice,
    check_count,
    check_positive,
    short_repr,
)
from yolox_ops.yolox.assigners import ASSIGNERS
from yolox_ops.yolox.model import MODELS, SMALL

AMP = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}
LARGEST_BATCH = 2**16  # images; a mistake beyond
Tensors = list[Tensor] | tuple[Tensor, ...]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained. All of it is written into the checkpoint.

    Attributes:
        model: a name in `yolox_ops.yolox.MODELS`.
        height, width: of the input in pixels, multiples of 32.
        epochs: the last `no_aug_epochs` of them without mosaic and mixup, and with the L1 loss.
        batch: images a step, over all processes.
        lr: the learning rate for a batch of 64; for another it is scaled by batch / 64.
        warmup_epochs: the learning rate rises from 0 as the square of time, then falls as a cosine to
            `min_lr_ratio` of its height, and stays there in the last epochs.
        momentum, weight_decay: of SGD with Nesterov's momentum; norms and biases do not decay.
        ema_decay: of the averaged weights, which are evaluated: ema_decay * (1 - exp(-step / 2000)) of them stays.
        clip_norm: the gradient's norm is cut to it; None: it is not.
        amp: "off", "bf16" or "fp16", under autocast; fp16 with a scaled loss.
        mosaic, mixup, flip: probabilities; None: the model's own (`augmentation_of`).
        multiscale: whether a size between about 3/4 and 5/4 of height and width is drawn every ten steps.
        freeze_norm: batch norms keep their statistics, as in fine-tuning with small batches.
        eval_every: epochs between evaluations; each of the last `no_aug_epochs` is evaluated too.
        seed: of weights, order, sizes and augmentation.
        assigner: a name in `yolox_ops.yolox.assigners.ASSIGNERS`.

    Raises:
        ValueError: a value does not fit. TypeError: it is no number.
    """

    model: str = "yolox_s"
    height: int = 640
    width: int = 640
    epochs: int = 300
    batch: int = 64
    lr: float = 0.01
    warmup_epochs: int = 5
    no_aug_epochs: int = 15
    min_lr_ratio: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    ema_decay: float = 0.9998
    clip_norm: float | None = None
    amp: str = "off"
    mosaic: float | None = None
    mixup: float | None = None
    flip: float | None = None
    multiscale: bool = True
    freeze_norm: bool = False
    eval_every: int = 10
    seed: int = 0
    assigner: str = "simota"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # which a file can hold
            object.__setattr__(self, field.name, as_number(getattr(self, field.name)))
        check_choice("model", self.model, tuple(MODELS))
        check_choice("assigner", self.assigner, tuple(ASSIGNERS))
        check_choice("amp", self.amp, tuple(AMP))
        for name in ("height", "width", "epochs", "batch", "eval_every"):
            check_count(name, getattr(self, name), 1)
        for name in ("warmup_epochs", "no_aug_epochs", "seed"):
            check_count(name, getattr(self, name), 0)
        if any(side % 32 or side > LARGEST_SIDE for side in (self.height, self.width)):
            sides = f"{short_repr(self.height)} x {short_repr(self.width)}"
            raise ValueError(f"height and width must be multiples of 32 up to {LARGEST_SIDE}, got {sides}")
        if self.batch > LARGEST_BATCH:
            raise ValueError(f"batch must be at most {LARGEST_BATCH}, got {self.batch}")
        if self.warmup_epochs + self.no_aug_epochs > self.epochs:
            spans = f"{self.warmup_epochs} and {self.no_aug_epochs} of {self.epochs}"
            raise ValueError(f"warmup_epochs and no_aug_epochs must fit into epochs, got {spans}")
        for name in ("lr", "weight_decay"):
            check_at_least(name, getattr(self, name), 0)
        if self.clip_norm is not None:
            check_positive("clip_norm", self.clip_norm)
        for name in ("min_lr_ratio", "momentum", "ema_decay", "mosaic", "mixup", "flip"):
            if getattr(self, name) is not None:
                check_between(name, getattr(self, name), 0, 1)

    @property
    def size_factors(self) -> tuple[float, float]:
        """The smallest and the largest size of multi-scale training, in parts of height and width: 480 to 800 for 640,
        320 to 640 for the 416 of the small models."""
        return (10 / 13, 20 / 13) if self.model in SMALL else (0.75, 1.25)

    def learning_rate(self, progress: float) -> float:
        """The learning rate after `progress` epochs, a fraction of one included."""
        top = self.lr * self.batch / 64
        low = top * self.min_lr_ratio
        if progress <= self.warmup_epochs:
            return top * (progress / self.warmup_epochs) ** 2 if self.warmup_epochs else top
        span = self.epochs - self.warmup_epochs - self.no_aug_epochs
        if progress >= self.epochs - self.no_aug_epochs:
            return low
        return low + (top - low) * (1 + math.cos(math.pi * (progress - self.warmup_epochs) / span)) / 2

    def augmented(self, epoch: int) -> bool:
        """Whether this epoch, counted from 0, has mosaic and mixup, and no L1 loss."""
        return epoch < self.epochs - self.no_aug_epochs

    def evaluated(self, epoch: int) -> bool:
        """Whether there is an evaluation at the end of this epoch."""
        return (epoch + 1) % self.eval_every == 0 or epoch + 1 == self.epochs or not self.augmented(epoch)

    def optimizer(self, model: nn.Module) -> torch.optim.SGD:
        """SGD with Nesterov's momentum; weight decay is for the weights of convolutions alone."""
        decayed = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.SGD(groups, lr=self.learning_rate(0), momentum=self.momentum, nesterov=self.momentum > 0)

    def average(self, model: nn.Module) -> torch.optim.swa_utils.AveragedModel:
        """The exponential moving average of weights and of the norms' statistics; update_parameters is one step."""

        def update(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
            if not averaged[0].is_floating_point():  # the norms' counts of batches
                torch._foreach_copy_(averaged, current)
                return
            # On the device, for the host need not wait.
            decay = self.ema_decay * (1 - torch.exp(-(torch.as_tensor(updates) + 1) / 2000))
            difference = torch._foreach_sub(current, averaged)
            torch._foreach_mul_(difference, 1 - decay)
            torch._foreach_add_(averaged, difference)

        return torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def digits_recipe(
    *,
    epochs: int,
    seed: int,
    model: str = "yolox_nano",
    height: int = 160,
    width: int = 160,
    batch: int = 8,
    lr: float = 0.08,
    assigner: str = "simota",
) -> Recipe:
    """A few epochs of digits from scratch: a high learning rate, one epoch to warm up and one with the L1 loss, and
    images as they are drawn. Three evaluations or some more."""
    return Recipe(
        model,
        height,
        width,
        epochs=epochs,
        batch=batch,
        lr=lr,
        warmup_epochs=min(1, epochs - 1),
        no_aug_epochs=min(1, epochs - 1),
        mosaic=0.0,
        mixup=0.0,
        flip=0.0,
        multiscale=False,
        eval_every=max(epochs // 3, 1),
        seed=seed,
        assigner=assigner,
    )
