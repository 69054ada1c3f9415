"""The numbers of training: Megvii's schedule, groups and averages, and the plan of the batches."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from yolox_ops.trainer.data.digits import Digits
from yolox_ops.trainer.train.batches import Augmented, Plan, Request
from yolox_ops.trainer.train.recipe import Recipe
from yolox_ops.yolox import yolox_nano


@pytest.mark.parametrize(
    ("epoch", "lr"),
    [
        (0, 0),
        (1, 0.0004),
        (2.5, 0.0025),
        (5, 0.01),
        (100, 0.00754766),
        (150, 0.00498367),
        (200, 0.00250131),
        (284, 0.0005003),
        (285, 0.0005),
        (300, 0.0005),
    ],
)
def test_learning_rate_is_megviis(epoch, lr):
    assert Recipe().learning_rate(epoch) == pytest.approx(lr, rel=1e-5)
    assert Recipe(batch=16).learning_rate(epoch) == pytest.approx(lr / 4, rel=1e-5)


def test_learning_rate_without_warmup_or_last_epochs():
    recipe = Recipe(epochs=10, warmup_epochs=0, no_aug_epochs=0)
    assert recipe.learning_rate(0) == 0.01 and recipe.learning_rate(10) == pytest.approx(0.0005)
    assert recipe.learning_rate(5) == pytest.approx((0.01 + 0.0005) / 2)


def test_weight_decay_is_for_convolutions_alone():
    model = yolox_nano(2)
    optimizer = Recipe(weight_decay=0.25, momentum=0.8).optimizer(model)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(model.parameters()))
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            expected = 0.25 if isinstance(module, nn.Conv2d) and name == "weight" else 0
            assert decay[id(parameter)] == expected
    assert all(group["nesterov"] and group["momentum"] == 0.8 for group in optimizer.param_groups)


def test_average_is_megviis():
    """After a first copy each update keeps 0.9998 * (1 - exp(-updates / 2000)), of statistics too."""
    model = nn.BatchNorm1d(1)
    average = Recipe().average(model)
    expected = None
    for update in range(1, 5):
        with torch.no_grad():
            model.weight.fill_(update**2)
            model.running_mean.fill_(-update)
            model.num_batches_tracked.fill_(update)
        average.update_parameters(model)
        kept = 0.9998 * (1 - math.exp(-update / 2000))
        now = torch.tensor([update**2, -update], dtype=torch.float64)
        expected = now if expected is None else kept * expected + (1 - kept) * now
        got = torch.stack([average.module.weight[0], average.module.running_mean[0]]).double()
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=0)
    assert average.module.num_batches_tracked == 4


def requests(recipe, images, **options):
    return list(Plan(recipe, images, **options))


RECIPE = Recipe("yolox_nano", 96, 64, epochs=3, batch=4, warmup_epochs=1, no_aug_epochs=1, seed=7)


def test_every_image_once_an_epoch_and_the_last_batch_filled():
    plan = requests(RECIPE, 10)
    assert len(plan) == len(Plan(RECIPE, 10)) == 9
    orders = []
    for epoch in range(3):
        images = [request.image for batch in plan[3 * epoch : 3 * epoch + 3] for request in batch]
        assert sorted(images[:10]) == list(range(10)) and images[10:] == images[:2]
        assert all(request.epoch == epoch for batch in plan[3 * epoch : 3 * epoch + 3] for request in batch)
        orders.append(tuple(images))
    assert len(set(orders)) == 3


def test_fewer_images_than_a_batch():
    plan = requests(RECIPE, 3)
    assert len(plan) == 3 and sorted(r.image for r in plan[0][:3]) == [0, 1, 2] and len(plan[0]) == 4


@pytest.mark.parametrize("start", [1, 3, 5, 9])
def test_a_plan_goes_on_where_it_was_left(start):
    assert requests(RECIPE, 10, start=start) == requests(RECIPE, 10)[start:]
    assert len(Plan(RECIPE, 10, start=start)) == 9 - start


def test_ranks_share_each_batch():
    whole = requests(RECIPE, 10)
    ranks = [requests(RECIPE, 10, rank=rank, ranks=2) for rank in range(2)]
    assert [one + two for one, two in zip(*ranks, strict=True)] == whole
    with pytest.raises(ValueError, match="batch must be a multiple of the 3 processes, got 4"):
        Plan(RECIPE, 10, ranks=3)


@pytest.mark.parametrize(("model", "size", "low", "high"), [("yolox_s", 640, 480, 800), ("yolox_nano", 416, 320, 640)])
def test_sizes_are_megviis_and_change_every_ten_steps(model, size, low, high):
    plan = Plan(Recipe(model, size, size), 100)
    sizes = [plan.size(step) for step in range(0, 20000, 10)]
    assert all(height == width and height % 32 == 0 for height, width in sizes)
    assert {height for height, _ in sizes} == set(range(low, high + 1, 32)) and sizes[0] == (size, size)
    assert all(plan.size(step + 9) == plan.size(step) for step in range(0, 500, 10))


def test_sizes_of_oblong_images():
    plan = Plan(Recipe("yolox_s", 320, 640), 100)
    sizes = {plan.size(step) for step in range(0, 5000, 10)}
    assert len(sizes) == 5 and all(width == 2 * height for height, width in sizes)
    fixed = Plan(Recipe("yolox_s", 320, 640, multiscale=False), 100)
    assert {fixed.size(step) for step in range(0, 5000, 10)} == {(320, 640)}


class Asked(Digits):
    """Remembers which images were asked for."""

    def __getitem__(self, index):
        self.asked = [*getattr(self, "asked", []), index]
        return super().__getitem__(index)


@pytest.mark.parametrize(
    ("epoch", "options", "images"),
    [
        (0, {"mosaic": 1.0, "mixup": 0.0}, 4),
        (0, {"mosaic": 0.0, "mixup": 1.0}, 1),
        (1, {"model": "yolox_s", "mixup": 0.0}, 4),  # whose mosaic is certain
        (2, {"mosaic": 1.0, "mixup": 1.0}, 1),  # the last
    ],
)
def test_the_recipe_says_how_images_are_augmented(epoch, options, images):
    data = Asked("train", images=9, height=96, width=64)
    augmented = Augmented(data, dataclasses.replace(RECIPE, **options))
    for image in range(5):
        data.asked = []
        sample = augmented[Request(epoch, image, 96, 64)]
        assert data.asked[0] == image and len(data.asked) == images and sample.image.shape == (96, 64, 3)


def test_samples_differ_by_epoch_and_by_seed():
    data = Digits("train", images=9, height=96, width=64)
    images = set()
    for seed in (7, 8):
        augmented = Augmented(data, dataclasses.replace(RECIPE, seed=seed, mosaic=1.0))
        for request in (Request(0, 3, 96, 64), Request(1, 3, 96, 64)):
            sample = augmented[request]
            assert np.array_equal(sample.image, augmented[request].image)
            images.add(sample.image.tobytes())
    assert len(images) == 4


def test_a_flip_is_the_recipes():
    data = Digits("train", images=9, height=96, width=64)
    recipes = [dataclasses.replace(RECIPE, mosaic=0.0, flip=flip) for flip in (0.0, 1.0)]
    plain, flipped = (Augmented(data, recipe)[Request(0, 3, 96, 64)] for recipe in recipes)
    assert np.array_equal(plain.image[:, ::-1], flipped.image) and len(plain.boxes)


def test_last_epochs():
    recipe = Recipe(epochs=40, no_aug_epochs=3, eval_every=10)
    assert [epoch for epoch in range(40) if not recipe.augmented(epoch)] == [37, 38, 39]
    assert [epoch for epoch in range(40) if recipe.evaluated(epoch)] == [9, 19, 29, 37, 38, 39]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"model": "yolov9"}, ValueError, "model must be one of"),
        ({"height": 100}, ValueError, "height and width must be multiples of 32 up to 8192, got 100 x 640"),
        ({"batch": 0}, ValueError, "batch must be at least 1, got 0"),
        ({"epochs": 2.5}, TypeError, "epochs must be an integer, got 2.5"),
        ({"epochs": 10}, ValueError, "warmup_epochs and no_aug_epochs must fit into epochs, got 5 and 15 of 10"),
        ({"amp": "int8"}, ValueError, "amp must be one of 'off', 'bf16', 'fp16', got 'int8'"),
        ({"mosaic": 1.5}, ValueError, r"mosaic must be in \[0, 1\], got 1.5"),
        ({"lr": -1.0}, ValueError, "lr must be at least 0, got -1.0"),
        ({"assigner": "atss"}, ValueError, "assigner must be one of 'simota', .*, got 'atss'"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm must be positive and finite, got 0.0"),
    ],
)
def test_errors(options, error, words):
    with pytest.raises(error, match=words):
        Recipe(**options)
