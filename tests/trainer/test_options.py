"""From the words of `yolox-ops train` to a recipe, data and a place."""

from pathlib import Path

import pytest

from yolox_ops.cli import main
from yolox_ops.trainer.train import command
from yolox_ops.trainer.train.command import DATA
from yolox_ops.trainer.train.recipe import Recipe

JSON = ("--data", "a.json", "--val-data", "b.json")
ALL = (
    *("--model", "yolox_tiny", "--size", "64x96", "--epochs", "40", "--batch", "8", "--lr", "0.02", "--seed", "9"),
    *("--warmup-epochs", "3", "--no-aug-epochs", "4", "--weight-decay", "0.1", "--clip-norm", "2", "--mosaic", "0.5"),
    *("--mixup", "0.25", "--flip", "0.75", "--eval-every", "3", "--amp", "bf16", "--no-multiscale", "--freeze-norm"),
    *("--assigner", "center"),
)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the command asks for, in place of a run."""
    monkeypatch.chdir(tmp_path)

    def ask(*words):
        calls = []

        def stop(*args, **options):
            calls.append((*args, options))
            raise SystemExit

        monkeypatch.setattr(command, "trainer_of", stop)
        with pytest.raises(SystemExit):
            main(["train", *words])
        return calls[0]

    return ask


@pytest.mark.parametrize(
    ("words", "recipe"),
    [
        ((), Recipe(height=160, width=160, flip=0.0)),  # of digits, which must not be mirrored
        (("--flip", "0.5", "--size", "96"), Recipe(height=96, width=96, flip=0.5)),
        (JSON, Recipe()),
        ((*JSON, "--model", "yolox_nano"), Recipe("yolox_nano", 416, 416)),
        ((*JSON, "--epochs", "9"), Recipe(epochs=9, warmup_epochs=2, no_aug_epochs=2)),
        (
            (*JSON, *ALL),
            Recipe(
                model="yolox_tiny",
                height=64,
                width=96,
                epochs=40,
                batch=8,
                lr=0.02,
                warmup_epochs=3,
                no_aug_epochs=4,
                weight_decay=0.1,
                clip_norm=2.0,
                amp="bf16",
                mosaic=0.5,
                mixup=0.25,
                flip=0.75,
                multiscale=False,
                freeze_norm=True,
                eval_every=3,
                seed=9,
                assigner="center",
            ),
        ),
    ],
)
def test_recipe(asked, words, recipe):
    assert asked(*words)[0] == recipe


def test_options_of_data_and_output(asked):
    _, data, folder, ranks, here, options = asked()
    assert data == DATA and folder == Path("run") and ranks[:2] == (0, 1) and options == {}
    assert here == {"workers": 2, "save_every": None, "max_nan_steps": 10}
    more = ("--images", "i", "--val-images", "v", "--on-bad", "refuse", "--count", "7", "--val-count", "3")
    words = ("--out", "o", "--workers", "0", "--save-every", "5", "--no-progress", "--device", "cpu")
    words += ("--max-nan-steps", "3")
    _, data, folder, _, here, _ = asked(*JSON, *more, *words)
    assert tuple(data.values()) == ("a.json", "i", "b.json", "v", "refuse", 7, 3) and folder == Path("o")
    assert here == {"workers": 0, "save_every": 5, "max_nan_steps": 3}
