"""The training loop: its steps are the textbook's, and what it leaves behind."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
from runs import RECIPE, checkpoint, equal, trainer

from yolox_ops import simota
from yolox_ops.trainer.data.digits import Digits
from yolox_ops.trainer.evaluate import AveragePrecision
from yolox_ops.trainer.train import command
from yolox_ops.trainer.train.batches import Plan, train_loader
from yolox_ops.trainer.train.command import DATA
from yolox_ops.trainer.train.log import read
from yolox_ops.trainer.train.plots import draw_curves
from yolox_ops.yolox import load_checkpoint, yolox_nano
from yolox_ops.yolox.assigners import center


def test_steps_equal_sgd_by_hand(tmp_path):
    """Two steps by hand: SGD with Nesterov's momentum, weight decay for convolutions, the schedule, the average."""
    run = trainer(tmp_path)
    mine = yolox_nano(10).to(memory_format=torch.channels_last)
    batches = train_loader(run.train_set, RECIPE, Plan(RECIPE, 16), workers=0, device=torch.device("cpu"))
    speed = {name: torch.zeros_like(p) for name, p in mine.named_parameters()}
    average = None
    for step, batch in zip(range(3), batches, strict=False):
        mine.load_state_dict(run.learner.model.state_dict())  # rounding may turn an assignment, and then the steps part
        images = batch.images.to(torch.float32, memory_format=torch.channels_last)
        total = mine(images, batch.targets).total
        gradients = torch.autograd.grad(total, list(mine.parameters()))
        lr = 0.02 * 4 / 64 * ((step + 1) / 4) ** 2
        with torch.no_grad():
            for (name, p), gradient in zip(mine.named_parameters(), gradients, strict=True):
                gradient = gradient + (5e-4 * p if p.dim() > 1 else 0)
                speed[name] = 0.9 * speed[name] + gradient
                p -= lr * (gradient + 0.9 * speed[name])
        sums = run.one_step(run.learner.model, batch)
        run.step += 1
        torch.testing.assert_close(sums[0], total.detach())
        assert sums[6] == batch.targets.num_gts.sum() > 0
        for name, value in run.learner.model.state_dict().items():
            torch.testing.assert_close(value, mine.state_dict()[name], rtol=1e-5, atol=1e-6)
        weights = {name: value.detach().clone() for name, value in run.learner.model.named_parameters()}
        kept = 0.9998 * (1 - math.exp(-(step + 1) / 2000)) if step else 0
        average = {name: kept * (average or weights)[name] + (1 - kept) * now for name, now in weights.items()}
        for name, value in run.learner.average.module.named_parameters():
            torch.testing.assert_close(value, average[name], rtol=1e-5, atol=1e-6)


def test_a_run_leaves_its_files(tmp_path):
    run = trainer(tmp_path)
    run.run(progress=False)
    steps, epochs = read(tmp_path / "steps.csv"), read(tmp_path / "epochs.csv")
    assert [row["step"] for row in steps] == [4, 8, 10, 12] and [row["epoch"] for row in epochs] == [2, 3]
    assert all(math.isfinite(value) for row in steps for value in row.values())
    assert [row["l1"] > 0 for row in steps] == [False, False, True, True]
    assert all(0.5 < row["positives_per_gt"] < 20 for row in steps), steps
    last, best = checkpoint(tmp_path), checkpoint(tmp_path, "best.pt")
    assert last["step"] == last["evaluated"] == 12 and best["AP"] == last["best"] == max(r["AP"] for r in epochs)
    assert best["settings"] == {
        "model": "yolox_nano",
        "class_names": list("0123456789"),
        "height": 64,
        "width": 64,
    }
    assert load_checkpoint(tmp_path / "last.pt", yolox_nano(10)) == []
    assert not equal(last["model"], last["raw"])
    assert draw_curves(tmp_path).stat().st_size > 20_000
    assert any((tmp_path / "tensorboard").iterdir())
    files = {"last.pt", "previous.pt", "best.pt", "steps.csv", "epochs.csv", "curves.png", "tensorboard"}
    assert {path.name for path in tmp_path.iterdir()} == files


def test_the_best_is_kept(tmp_path, monkeypatch):
    run = trainer(tmp_path)
    found = iter([0.5, 0.3])
    monkeypatch.setattr(run, "evaluate", lambda: AveragePrecision(next(found), *[0.0] * 11))
    run.run(progress=False)
    best, last = checkpoint(tmp_path, "best.pt"), checkpoint(tmp_path)
    assert best["AP"] == last["best"] == 0.5 and not equal(best["model"], last["model"])
    assert [row["AP"] for row in read(tmp_path / "epochs.csv")] == [0.5, 0.3]


def test_workers_after_opencv_had_threads():
    """A forked worker must not wait for threads that only its parent has."""
    cv2.setNumThreads(4)
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (3000, 3000))
    data = Digits("train", images=8, height=64, width=64)
    forked, here = (
        train_loader(data, RECIPE, Plan(RECIPE, 8), workers=workers, device=torch.device("cpu")) for workers in (1, 0)
    )
    forked.timeout = 20
    (batch, *_), (same, *_) = forked, here
    torch.testing.assert_close((batch.images, *batch.targets), (same.images, *same.targets), rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1.0, 128.0])
def test_frozen_norms_and_clipping(tmp_path, scale):
    """The gradient is cut as it is, not as fp16's scaled loss has it."""
    run = trainer(
        tmp_path, dataclasses.replace(RECIPE, freeze_norm=True, clip_norm=0.5, momentum=0.0, weight_decay=0.0)
    )
    run.learner.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    run.learner.set_mode()
    (batch, *_) = train_loader(run.train_set, RECIPE, Plan(RECIPE, 16), workers=0, device=torch.device("cpu"))
    before = {name: value.clone() for name, value in run.learner.model.state_dict().items()}
    run.one_step(run.learner.model, batch)
    after = run.learner.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if "running" in name or "tracked" in name)
    lr = run.learner.optimizer.param_groups[0]["lr"]
    moved = sum((after[name] - before[name]).square().sum() for name, _ in run.learner.model.named_parameters()).sqrt()
    assert moved == pytest.approx(0.5 * lr, rel=1e-2)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_half_precision(tmp_path, amp):
    """The losses of float32 but for rounding, which would turn assignments by cost, and weights in float32."""
    recipe = dataclasses.replace(RECIPE, assigner="center")
    full, half = trainer(tmp_path, recipe), trainer(tmp_path, dataclasses.replace(recipe, amp=amp))
    (batch, *_) = train_loader(full.train_set, RECIPE, Plan(RECIPE, 16), workers=0, device=torch.device("cpu"))
    before = [p.clone() for p in half.learner.model.parameters()]
    found, expected = (run.one_step(run.learner.model, batch)[0] for run in (half, full))
    torch.testing.assert_close(found, expected, rtol=2 * torch.finfo(torch.bfloat16).eps, atol=0)
    assert half.learner.scaler.is_enabled() == (amp == "fp16")
    for _ in range(12):  # the scale of fp16 begins too high, and such steps change nothing
        half.one_step(half.learner.model, batch)
    assert all(p.dtype == torch.float32 for p in half.learner.model.parameters())
    assert any(not torch.equal(p, old) for p, old in zip(half.learner.model.parameters(), before, strict=True))


def test_the_scale_of_fp16_is_resumed(tmp_path):
    recipe = dataclasses.replace(RECIPE, amp="fp16")
    run = trainer(tmp_path, recipe)
    run.learner.scaler.load_state_dict(run.learner.scaler.state_dict() | {"scale": 32.0, "_growth_tracker": 5})
    run.save()
    resumed = trainer(tmp_path, recipe, resume=True)
    assert (
        resumed.learner.scaler.state_dict() == run.learner.scaler.state_dict()
        and resumed.learner.scaler.get_scale() == 32
    )


def test_the_assigner_is_used(tmp_path):
    calls = []

    def assigner(*scene):
        calls.append(scene)
        return simota(*scene)

    run = trainer(tmp_path, assigner=assigner)
    run.run(progress=False)
    assert len(calls) == 12


def test_a_resumed_run_keeps_its_assigner(tmp_path):
    recipe = dataclasses.replace(RECIPE, assigner="center")
    run = trainer(tmp_path, recipe, about=DATA | {"count": 16, "val_count": 4})
    (batch, *_) = train_loader(run.train_set, recipe, Plan(recipe, 16), workers=0, device=torch.device("cpu"))
    *_, positives, objects = run.one_step(run.learner.model, batch).tolist()
    assert 0 < positives <= objects
    run.save()

    def resume():
        return command.resumed({"resume": tmp_path}, run.ranks, {"workers": 0, "save_every": None})

    assert resume().learner.assigner is center and resume().recipe == recipe
    saved = checkpoint(tmp_path)
    del saved["recipe"]["assigner"]  # as a run was kept that could have no other
    torch.save(saved, tmp_path / "last.pt")
    assert resume().learner.assigner is simota
    with pytest.raises(ValueError, match=r"last\.pt must be of this recipe"):
        trainer(tmp_path, recipe, resume=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--resume", "nowhere"), "nowhere holds no last.pt to go on from"),
        (("--resume", "nowhere", "--epochs", "3"), "--resume takes the run as it was begun, without --epochs"),
        (("--data", "x.json"), "--val-data must name the JSON file to evaluate on"),
        (("--data", "x.json", "--val-data", "y.json"), "x.json"),
        (("--size", "100"), "must be SIDE or HEIGHTxWIDTH in positive multiples of 32"),
        (("--epochs", "3", "--no-aug-epochs", "4"), "must fit into epochs"),
    ],
)
def test_errors_of_the_command(tmp_path, capsys, monkeypatch, words, message):
    from yolox_ops.cli import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        main(["train", *words])
    assert message in str(error.value) + capsys.readouterr().err


def test_errors_of_the_trainer(tmp_path):
    run = trainer(tmp_path)
    run.save()
    with pytest.raises(ValueError, match=r"last\.pt must be of this recipe, got"):
        trainer(tmp_path, dataclasses.replace(RECIPE, lr=0.2), resume=True)
    with pytest.raises(FileNotFoundError):
        trainer(tmp_path / "nowhere", resume=True)
