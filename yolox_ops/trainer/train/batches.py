"""Batches for training. What is in a batch depends on the seed and the number of the step alone, so that neither the
workers nor a restart in the middle of an epoch changes it."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from yolox_ops.trainer.data.augment import augment, augmentation_of
from yolox_ops.trainer.data.loader import loader
from yolox_ops.trainer.data.sample import Dataset, Sample, collate
from yolox_ops.trainer.train.recipe import Recipe

STEPS_A_SIZE = 10  # of multi-scale training


class Request(NamedTuple):
    """One image of one batch."""

    epoch: int
    image: int
    height: int
    width: int


class Plan(torch.utils.data.Sampler[list[Request]]):
    """The batches of one process, from step `start` to the end of training.

    An epoch is a permutation of the data set; where it does not fill the last batch, that begins the permutation anew.
    Process `rank` of `ranks` gets its share of every batch.
    """

    def __init__(self, recipe: Recipe, images: int, *, start: int = 0, rank: int = 0, ranks: int = 1) -> None:
        if recipe.batch % ranks:
            raise ValueError(f"batch must be a multiple of the {ranks} processes, got {recipe.batch}")
        self.recipe, self.images, self.start = recipe, images, start
        self.steps_an_epoch = -(-images // recipe.batch)
        share = recipe.batch // ranks
        self.mine = slice(rank * share, (rank + 1) * share)

    def __len__(self) -> int:
        return self.recipe.epochs * self.steps_an_epoch - self.start

    def __iter__(self) -> Iterator[list[Request]]:
        first, skipped = divmod(self.start, self.steps_an_epoch)
        for epoch in range(first, self.recipe.epochs):
            order = np.random.default_rng((self.recipe.seed, 0, epoch)).permutation(self.images)
            batches = np.resize(order, (self.steps_an_epoch, self.recipe.batch))
            for i in range(skipped if epoch == first else 0, self.steps_an_epoch):
                size = self.size(epoch * self.steps_an_epoch + i)
                yield [Request(epoch, image, *size) for image in batches[i, self.mine].tolist()]

    def size(self, step: int) -> tuple[int, int]:
        """Height and width of the images of a step."""
        height, width = self.recipe.height, self.recipe.width
        if not self.recipe.multiscale or step < STEPS_A_SIZE:  # Megvii, too, begins with the size itself
            return height, width
        low, high = (max(round(height * factor / 32), 1) for factor in self.recipe.size_factors)
        rng = np.random.default_rng((self.recipe.seed, 1, step // STEPS_A_SIZE))
        rows = int(rng.integers(low, high + 1))
        return 32 * rows, 32 * max(round(rows * width / height), 1)


class Augmented(torch.utils.data.Dataset[Sample]):
    """A data set seen through the recipe's augmentation, at the requested size."""

    def __init__(self, dataset: Dataset, recipe: Recipe) -> None:
        self.dataset, self.recipe = dataset, recipe
        chosen = {"mosaic_prob": recipe.mosaic, "mixup_prob": recipe.mixup, "flip_prob": recipe.flip}
        given: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
        self.augmentation = dataclasses.replace(augmentation_of(recipe.model), **given)

    def __getitem__(self, request: Request) -> Sample:
        rng = np.random.default_rng((self.recipe.seed, 2, request.epoch, request.image))
        settings = self.augmentation
        if not self.recipe.augmented(request.epoch):
            settings = dataclasses.replace(settings, mosaic_prob=0.0, mixup_prob=0.0)
        return augment(self.dataset, request.image, request.height, request.width, settings, rng)


def train_loader(dataset: Dataset, recipe: Recipe, plan: Plan, *, workers: int, device: torch.device) -> DataLoader:
    """The batches of `plan`, made by `workers` processes, or by this one for 0."""
    samples, pin = Augmented(dataset, recipe), device.type == "cuda"
    return loader(samples, workers, batch_sampler=plan, collate_fn=collate, pin_memory=pin)
