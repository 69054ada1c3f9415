"""The training loop: its steps are the textbook's, it can be killed at any moment, and two processes are one."""

import dataclasses
import math
import random
import signal
import time

import cv2
import numpy as np
import pytest
import torch
from runs import RECIPE, WORDS, checkpoint, train, trainer
from torch import nn

from yolox_ops import simota
from yolox_ops.yolox import load_checkpoint, yolox_nano
from yolox_ops.yolox.data.digits import Digits
from yolox_ops.yolox.train.batches import Plan, train_loader
from yolox_ops.yolox.train.log import Table, read
from yolox_ops.yolox.train.plots import draw_curves

LONGER = ("--epochs", "8", "--eval-every", "4")


def equal(one, two):
    """Whether two checkpoints hold the same bits."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(equal, one, two))
    return torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two


def rows(folder, name="steps.csv"):
    """A table but for the time that steps took."""
    return [{k: v for k, v in row.items() if k != "seconds_per_step"} for row in read(folder / name)]


def test_steps_are_the_textbooks(tmp_path):
    """Two steps by hand: SGD with Nesterov's momentum, weight decay for convolutions, the schedule, the average."""
    run = trainer(tmp_path)
    mine = yolox_nano(10).to(memory_format=torch.channels_last)
    batches = train_loader(run.train_set, RECIPE, Plan(RECIPE, 16), workers=0, device=torch.device("cpu"))
    speed = {name: torch.zeros_like(p) for name, p in mine.named_parameters()}
    for step, batch in zip(range(3), batches, strict=False):
        mine.load_state_dict(run.model.state_dict())  # rounding may turn an assignment, and then the steps part
        images = batch.images.to(torch.float32, memory_format=torch.channels_last)
        total = mine(images, batch.targets).total
        gradients = torch.autograd.grad(total, list(mine.parameters()))
        lr = 0.02 * 4 / 64 * ((step + 1) / 4) ** 2
        with torch.no_grad():
            for (name, p), gradient in zip(mine.named_parameters(), gradients, strict=True):
                gradient = gradient + (5e-4 * p if p.dim() > 1 else 0)
                speed[name] = 0.9 * speed[name] + gradient
                p -= lr * (gradient + 0.9 * speed[name])
        sums = run.one_step(run.model, batch)
        run.step += 1
        torch.testing.assert_close(sums[0], total.detach())
        assert sums[6] == batch.targets.num_gts.sum() > 0
        for name, value in run.model.state_dict().items():
            torch.testing.assert_close(value, mine.state_dict()[name], rtol=1e-5, atol=1e-6, msg=name)


def test_an_interrupted_evaluation_is_done_again(tmp_path, monkeypatch):
    """As by a kill between the row of an epoch and the checkpoint that says it is there."""
    trainer(tmp_path / "whole").run(progress=False)
    run = trainer(tmp_path / "cut")
    save = run.save

    def interrupt():
        if run.evaluated == 8:
            raise KeyboardInterrupt
        save()

    monkeypatch.setattr(run, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.run(progress=False)
    assert [row["step"] for row in read(tmp_path / "cut" / "epochs.csv")] == [8]
    trainer(tmp_path / "cut", resume=True).run(progress=False)
    assert str(rows(tmp_path / "cut", "epochs.csv")) == str(rows(tmp_path / "whole", "epochs.csv"))
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert equal(checkpoint(tmp_path / "cut"), checkpoint(tmp_path / "whole"))


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
    assert any((tmp_path / "tensorboard").iterdir()) and not list(tmp_path.glob("*.partial"))


def test_killed_at_any_moment_it_ends_as_it_would_have(tmp_path):
    """kill -9 at three moments, each a step or some further on than the last."""
    random.seed(time.time_ns())
    often = ("--save-every", "1", "--workers", "1")
    killed, ends = tmp_path / "killed", []
    assert train(tmp_path, *WORDS, *LONGER, *often, "--out", "whole").wait() == 0
    for _ in range(3):
        before = checkpoint(killed)["step"] if (killed / "last.pt").exists() else 0
        process = train(tmp_path, *often, *where(killed))
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if (killed / "last.pt").exists() and checkpoint(killed)["step"] > before:
                time.sleep(random.uniform(0, 0.3))
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        ends.append(process.wait())
    assert ends == [-signal.SIGKILL] * 3
    assert train(tmp_path, *often, *where(killed)).wait() == 0
    whole = tmp_path / "whole"
    assert equal(checkpoint(killed), checkpoint(whole))
    assert equal(checkpoint(killed, "best.pt"), checkpoint(whole, "best.pt"))
    assert str(rows(killed, "epochs.csv")) == str(rows(whole, "epochs.csv"))  # NaN is not itself
    assert rows(killed) == rows(whole)


def where(folder):
    """A new run in the folder, or on with the one that is there."""
    begun = (folder / "last.pt").exists()
    return ("--resume", folder.name) if begun else (*WORDS, *LONGER, "--out", folder.name)


def test_two_processes_are_one(tmp_path):
    """By torchrun over gloo. Norms are frozen, for each process norms by its own images, on one GPU as on many."""
    words = (*WORDS, "--freeze-norm", "--no-multiscale", "--workers", "0", "--epochs", "2", "--no-aug-epochs", "0")
    alone, two = train(tmp_path, *words, "--out", "one"), train(tmp_path, *words, "--out", "two", ranks=2)
    assert alone.wait() == 0 and two.wait() == 0
    one, two = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "two")
    for kind in ("raw", "model"):
        for name, value in one[kind].items():
            torch.testing.assert_close(two[kind][name], value, rtol=1e-3, atol=1e-5, msg=f"{kind} {name}")
    for name in ("steps.csv", "epochs.csv"):
        for mine, theirs in zip(rows(tmp_path / "one", name), rows(tmp_path / "two", name), strict=True):
            assert theirs == pytest.approx(mine, rel=1e-3, abs=1e-4, nan_ok=True)


def test_workers_after_opencv_had_threads():
    """A forked worker must not wait for threads that only its parent has."""
    cv2.setNumThreads(4)
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (3000, 3000))
    data = Digits("train", images=8, height=64, width=64)
    batches = train_loader(data, RECIPE, Plan(RECIPE, 8), workers=1, device=torch.device("cpu"))
    batches.timeout = 60
    (batch, *_), (same, *_) = (
        batches,
        train_loader(data, RECIPE, Plan(RECIPE, 8), workers=0, device=torch.device("cpu")),
    )
    torch.testing.assert_close((batch.images, *batch.targets), (same.images, *same.targets), rtol=0, atol=0)


def test_frozen_norms_and_clipping(tmp_path):
    run = trainer(
        tmp_path, dataclasses.replace(RECIPE, freeze_norm=True, clip_norm=0.5, momentum=0.0, weight_decay=0.0)
    )
    run.set_mode()
    (batch, *_) = train_loader(run.train_set, RECIPE, Plan(RECIPE, 16), workers=0, device=torch.device("cpu"))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.one_step(run.model, batch)
    after = run.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if "running" in name or "tracked" in name)
    lr = run.optimizer.param_groups[0]["lr"]
    moved = sum((after[name] - before[name]).square().sum() for name, _ in run.model.named_parameters()).sqrt()
    assert moved == pytest.approx(0.5 * lr, rel=1e-2)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_half_precision(tmp_path, amp):
    """The losses of float32 but for rounding, and weights in float32."""
    full, half = trainer(tmp_path), trainer(tmp_path, dataclasses.replace(RECIPE, amp=amp))
    (batch, *_) = train_loader(full.train_set, RECIPE, Plan(RECIPE, 16), workers=0, device=torch.device("cpu"))
    before = [p.clone() for p in half.model.parameters()]
    torch.testing.assert_close(
        half.one_step(half.model, batch)[0], full.one_step(full.model, batch)[0], rtol=0.03, atol=0
    )
    assert half.scaler.is_enabled() == (amp == "fp16")
    for _ in range(12):  # the scale of fp16 begins too high, and such steps change nothing
        half.one_step(half.model, batch)
    assert all(p.dtype == torch.float32 for p in half.model.parameters())
    assert any(not torch.equal(p, old) for p, old in zip(half.model.parameters(), before, strict=True))


def test_losses_that_are_not_finite_end_the_run(tmp_path):
    run = trainer(tmp_path)
    nn.init.constant_(run.model.head.obj_preds[0].bias, math.nan)
    with pytest.raises(FloatingPointError, match="the losses must be finite, got total nan"):
        run.run(progress=False)
    assert not (tmp_path / "last.pt").exists()


def test_the_assigner_is_used(tmp_path):
    calls = []

    def assigner(*scene):
        calls.append(scene)
        return simota(*scene)

    run = trainer(tmp_path, assigner=assigner)
    run.run(progress=False)
    assert len(calls) == 12


def test_tables_forget_what_a_resumed_run_does_again(tmp_path):
    path = tmp_path / "table.csv"
    table = Table(path, ("step", "value"), 0)
    for step in range(1, 5):
        table.add(step, step / 3)
    with path.open("a") as file:
        file.write("5,1.")  # the process ended here
    assert [row["step"] for row in read(path)] == [1, 2, 3, 4]
    Table(path, ("step", "value"), 2).add(3, 7.0)
    assert read(path) == [
        {"step": 1, "value": pytest.approx(1 / 3)},
        {"step": 2, "value": pytest.approx(2 / 3)},
        {"step": 3, "value": 7.0},
    ]


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
    with pytest.raises((SystemExit, ValueError, OSError)) as error:
        main(["train", *words])
    assert message in str(error.value) + capsys.readouterr().err


def test_errors_of_the_trainer(tmp_path):
    run = trainer(tmp_path)
    run.save()
    with pytest.raises(ValueError, match=r"last\.pt must be of this recipe, got"):
        trainer(tmp_path, dataclasses.replace(RECIPE, lr=0.2), resume=True)
    with pytest.raises(FileNotFoundError):
        trainer(tmp_path / "nowhere", resume=True)
