"""Steps whose loss or gradient is not finite."""

import dataclasses
import math
import multiprocessing
import time

import pytest
import torch
import torch.distributed as dist
from runs import RECIPE, checkpoint, equal, trainer

from yolox_ops.trainer.train import command
from yolox_ops.trainer.train.batches import Plan, train_loader
from yolox_ops.trainer.train.log import read
from yolox_ops.trainer.train.ranks import Ranks
from yolox_ops.trainer.train.skips import give_up
from yolox_ops.yolox import load_checkpoint, yolox_nano

ALONE = Ranks(0, 1, torch.device("cpu"))


def spoil(run, steps, factor):
    """From outside: images of some steps become NaN or huge."""
    run.learner.model.register_forward_pre_hook(
        lambda module, args: (args[0] * factor, *args[1:]) if run.step in steps else args
    )


@pytest.mark.parametrize(("amp", "factor"), [("off", math.nan), ("off", 1e30), ("fp16", math.nan)])
def test_steps_that_are_not_finite_are_skipped(tmp_path, amp, factor):
    """With 1e30 the loss is finite and its gradient is not."""
    run = trainer(tmp_path, dataclasses.replace(RECIPE, amp=amp, clip_norm=1.0), max_nan_steps=3)
    run.learner.scaler = torch.amp.GradScaler("cpu", init_scale=16.0, enabled=amp == "fp16")
    spoil(run, (1, 2), factor)
    batches = train_loader(run.train_set, RECIPE, Plan(RECIPE, 16), workers=0, device=ALONE.device)
    seen = []
    for run.step, batch in zip(range(4), batches, strict=False):
        run.one_step(run.learner.model, batch)
        state = [*run.learner.model.state_dict().values(), *run.learner.average.state_dict().values()]
        momentum = [buffer["momentum_buffer"] for buffer in run.learner.optimizer.state.values()]
        seen.append(
            (run.learner.nan_steps, run.learner.scaler.get_scale(), [value.clone() for value in (*state, *momentum)])
        )
    assert [nan_steps for nan_steps, *_ in seen] == [0, 1, 2, 0] and len({scale for _, scale, _ in seen}) == 1
    assert equal(seen[0][2], seen[2][2]) and not equal(seen[2][2], seen[3][2])
    assert all(value.isfinite().all() for value in seen[3][2])


def test_an_overflow_of_the_fp16_scale_is_left_to_the_scaler(tmp_path):
    run = trainer(tmp_path, dataclasses.replace(RECIPE, amp="fp16"))
    run.learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    (batch, *_) = train_loader(run.train_set, RECIPE, Plan(RECIPE, 16), workers=0, device=ALONE.device)
    before = [p.clone() for p in run.learner.model.parameters()]
    run.one_step(run.learner.model, batch)
    assert run.learner.nan_steps == 0 and run.learner.scaler.get_scale() == 2.0**119
    assert all(torch.equal(p, old) for p, old in zip(run.learner.model.parameters(), before, strict=True))


def test_skipped_steps_are_counted_and_too_many_end_the_run(tmp_path, capsys):
    run = trainer(tmp_path, max_nan_steps=3)
    spoil(run, (1, 2, 4, 5, 6), math.inf)
    words = rf"must be finite, got total nan, .* at step 7, the last of 3 .* are in {tmp_path}/nan_batch_0\.pt"
    with pytest.raises(SystemExit, match=words), command.ended(tmp_path):
        run.run(progress=False)
    assert [(row["step"], row["skipped"]) for row in read(tmp_path / "steps.csv")] == [(4, 2), (7, 3)]
    assert math.isfinite(read(tmp_path / "steps.csv")[0]["total"])
    assert (
        "step 2 is skipped, its loss or gradient is not finite: 1 in a row of 3; total nan" in capsys.readouterr().out
    )
    left, model = checkpoint(tmp_path, "nan_batch_0.pt"), yolox_nano(10)
    assert load_checkpoint(tmp_path / "nan_batch_0.pt", model) == [] and left["losses"].isnan().any()
    batches = iter(train_loader(run.train_set, RECIPE, Plan(RECIPE, 16, start=6), workers=0, device=ALONE.device))
    batch = next(batches)
    assert torch.equal(left["images"], batch.images) and equal(left["targets"], batch.targets._asdict())
    resumed = trainer(tmp_path, resume=True)
    assert (resumed.step, resumed.learner.nan_steps) == (4, 0)
    assert equal(left["model"], run.learner.model.state_dict())


def test_no_checkpoint_is_written_while_steps_are_skipped(tmp_path):
    """The update before may have ruined the weights; step 4 ends an epoch, and is saved twice."""
    run = trainer(tmp_path, max_nan_steps=4, save_every=1)
    spoil(run, (4, 5, 6, 7), math.nan)
    with pytest.raises(FloatingPointError, match="at step 8, the last of 4"):
        run.run(progress=False)
    assert checkpoint(tmp_path)["step"] == 4 and checkpoint(tmp_path, "previous.pt")["step"] == 3


def test_a_run_may_end_with_skipped_steps(tmp_path, capsys):
    """Its last.pt is of the end, so that it is done; the weights are those of the step before."""
    run = trainer(tmp_path)
    spoil(run, (10, 11), math.nan)
    run.run(progress=False)
    assert "the last 2 steps were skipped: these are the weights from before them" in capsys.readouterr().out
    assert checkpoint(tmp_path)["step"] == 12 and checkpoint(tmp_path, "previous.pt")["step"] == 8
    assert checkpoint(tmp_path)["averaged"] == 10
    resumed = trainer(tmp_path, resume=True)
    assert (resumed.step, resumed.evaluated) == (12, 12)


def spoiled_rank(rank, folder):
    """One of two processes; in the second the images of one step are NaN. Under fp16 the first one does not
    see that by itself. Then both give up, the second later; and go on from checkpoints of two steps."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    run = trainer(folder, dataclasses.replace(RECIPE, amp="fp16"), Ranks(rank, 2, ALONE.device))
    run.learner.scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    if rank:
        spoil(run, (1,), math.nan)
    parallel, skipped = run.ranks.parallel(run.learner.model), []
    batches = train_loader(run.train_set, RECIPE, Plan(RECIPE, 16, rank=rank, ranks=2), workers=0, device=ALONE.device)
    for run.step, batch in zip(range(3), batches, strict=False):
        run.one_step(parallel, batch)
        skipped.append(run.learner.nan_steps)
    weights = {name: value.detach() for name, value in run.learner.model.named_parameters()}
    torch.save({"weights": weights, "skipped": skipped}, folder / f"{rank}.pt")

    time.sleep(rank)
    with pytest.raises(FloatingPointError, match=rf"the weights are in {folder}/nan_batch_{rank}\.pt$"):
        give_up(folder, run.ranks, batch, torch.zeros(7), run.facts())
    assert all((folder / f"nan_batch_{other}.pt").exists() for other in range(2))  # with the first end the others

    other = trainer(folder / f"run{rank}")
    other.step = 3 + rank
    other.save()
    with pytest.raises(ValueError, match=r"^step must be the same in all processes, got \[3, 4\]$"):
        trainer(folder / f"run{rank}", ranks=run.ranks, resume=True)
    dist.destroy_process_group()


def test_ranks_skip_together(tmp_path):
    spawn = multiprocessing.get_context("spawn")  # with processes of a fork server it has hung
    processes = [spawn.Process(target=spoiled_rank, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    first, second = (checkpoint(tmp_path, f"{rank}.pt") for rank in range(2))
    assert first["skipped"] == second["skipped"] == [0, 1, 0]
    assert equal(first["weights"], second["weights"])
    assert all(value.isfinite().all() for value in first["weights"].values())
