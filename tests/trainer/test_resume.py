"""A run that is interrupted ends as it would have, and two processes are one. Kills are in test_faults.py."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from runs import WORDS, checkpoint, equal, train, trainer

from yolox_ops.trainer.train.log import Table, read
from yolox_ops.trainer.train.ranks import Ranks


def rows(folder, name="steps.csv"):
    """A table but for the time that steps took."""
    return [{k: v for k, v in row.items() if k != "seconds_per_step"} for row in read(folder / name)]


@pytest.mark.parametrize("at", [8, 12], ids=["midway", "at the end"])
def test_an_interrupted_evaluation_is_done_again(tmp_path, monkeypatch, at):
    """As by a kill between the row of an epoch and the checkpoint that says it is there."""
    trainer(tmp_path / "whole").run(progress=False)
    run = trainer(tmp_path / "cut")
    save = run.save

    def interrupt():
        if run.evaluated == at:
            raise KeyboardInterrupt
        save()

    monkeypatch.setattr(run, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.run(progress=False)
    assert read(tmp_path / "cut" / "epochs.csv")[-1]["step"] == at
    trainer(tmp_path / "cut", resume=True).run(progress=False)
    assert str(rows(tmp_path / "cut", "epochs.csv")) == str(rows(tmp_path / "whole", "epochs.csv"))
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert equal(checkpoint(tmp_path / "cut"), checkpoint(tmp_path / "whole"))


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


def evaluating_rank(rank, folder):
    """One of two processes whose averages have parted, as norms' statistics do; leaves which weights it evaluated on
    which images."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    run = trainer(folder, ranks=Ranks(rank, 2, torch.device("cpu")))
    with torch.no_grad():
        for value in run.learner.average.module.state_dict().values():
            value += rank
    seen, truth = [], run.val_set.coco()
    read = type(run.val_set).__getitem__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run.val_set), "__getitem__", lambda data, i: seen.append(i) or read(data, i))
        patch.setattr(type(run.val_set), "coco", lambda data: truth)  # which draws every image
        assert (run.evaluate() is None) == (rank == 1)
    torch.save({"weights": run.learner.average.module.state_dict(), "seen": seen}, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_processes_share_an_evaluation(tmp_path):
    mp.spawn(evaluating_rank, (tmp_path,), nprocs=2)
    first, second = (checkpoint(tmp_path, f"{rank}.pt") for rank in range(2))
    assert equal(first["weights"], trainer(tmp_path).learner.average.module.state_dict())
    assert equal(first["weights"], second["weights"])
    assert (first["seen"], second["seen"]) == ([0, 2], [1, 3])


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
