"""What a training does when the machine fails it. `python tests/programs/faults.py` is the long form of its kills."""

import errno
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import time

import faults
import pytest
import torch
from runs import RECIPE, ROOT, checkpoint, trainer

from yolox_ops import simota
from yolox_ops.cli import main
from yolox_ops.trainer.data.loader import _tie_to
from yolox_ops.trainer.train import command
from yolox_ops.trainer.train.batches import Plan, train_loader
from yolox_ops.trainer.train.log import Table, read
from yolox_ops.trainer.train.ranks import Ranks

ALONE = Ranks(0, 1, torch.device("cpu"))
OFTEN = ("--save-every", "1", "--workers", "0")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that was never killed. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    faults.finish(folder, *OFTEN)
    return folder


def test_a_killed_run_ends_as_if_never_killed(tmp_path, whole):
    """Twice while a checkpoint is being written, then while evaluating, and in a step with a worker alive."""
    folder, words = tmp_path / "killed", ("--save-every", "1", "--workers", "1")
    random.seed()
    assert faults.kill(folder, "save", *OFTEN, left=2, stay=True) == "save"
    assert faults.kill(folder, "save", *OFTEN, left=1, stay=True) == "save"
    assert faults.kill(folder, "evaluate", *OFTEN, left=1, stay=True) == "evaluate"
    assert faults.kill(folder, "step", *words, left=1, stay=True) == "step"
    faults.finish(folder, *words)
    faults.check(folder, whole)


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def small_disk(monkeypatch):
    """Files of torch.save end after a megabyte, as on a disk that is full."""

    class Full:
        def __init__(self, file):
            self.file, self.left = file, 1_000_000

        def write(self, data):
            self.left -= len(data)
            return self.file.write(data) if self.left >= 0 else full()

    write = torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: write(content, Full(file)))


@pytest.mark.parametrize("what", ["write", "fsync", "replace"])
def test_a_full_disk_ends_the_run_and_leaves_the_checkpoint(tmp_path, monkeypatch, request, what):
    run = trainer(tmp_path)
    run.save()
    before = (tmp_path / "last.pt").read_bytes()
    if what == "write":
        request.getfixturevalue("small_disk")
    else:
        monkeypatch.setattr(os, what, full)
    run.step = 1
    words = rf"yolox-ops: .*No space left on device: '{tmp_path}/last.pt'\n--resume {tmp_path} goes on from the last"
    with pytest.raises(SystemExit, match=words), command.ended(tmp_path):
        run.save()
    assert (tmp_path / "last.pt").read_bytes() == before and os.listdir(tmp_path) == ["last.pt"]
    assert trainer(tmp_path, resume=True).step == 0


def test_a_worker_killed_while_a_checkpoint_is_written_is_named(tmp_path, monkeypatch):
    """Python hears of it by a signal, wherever it is."""

    class Interrupted:
        def __init__(self, file):
            self.file, self.left = file, 1_000_000

        def write(self, data):
            self.left -= len(data)
            if self.left < 0 <= self.left + len(data):
                raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
            return self.file.write(data)

    run, write = trainer(tmp_path), torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: write(content, Interrupted(file)))
    words = r"yolox-ops: a process that makes batches has died: DataLoader worker \(pid 7"
    with pytest.raises(SystemExit, match=words), command.ended(tmp_path):
        run.save()
    assert os.listdir(tmp_path) == []


def test_a_read_only_folder_ends_the_run_before_its_first_step(tmp_path, monkeypatch):
    def refuse(path, *_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    run = trainer(tmp_path)
    monkeypatch.setattr(os, "mkdir", refuse)
    words = rf"Read-only file system: '{tmp_path}/steps.csv'\n{tmp_path} has no checkpoint yet"
    with pytest.raises(SystemExit, match=words), command.ended(tmp_path):
        run.run(progress=False)
    assert run.step == 0 and os.listdir(tmp_path) == []


def test_a_table_that_cannot_grow_is_named(tmp_path):
    (tmp_path / "full.csv").symlink_to("/dev/full")
    table = Table(tmp_path / "table.csv", ("step",), 0)
    table.path = tmp_path / "full.csv"
    with pytest.raises(OSError, match=r"No space left on device: '.*full\.csv'"):
        table.add(1)


def test_a_table_of_an_older_run(tmp_path):
    (tmp_path / "old.csv").write_text("step,total\n1,2.5\n")
    Table(tmp_path / "old.csv", ("step", "total", "skipped"), 1)
    assert read(tmp_path / "old.csv") == [{"step": 1, "total": 2.5, "skipped": 0}]


def test_a_killed_worker_ends_the_run_and_it_goes_on(tmp_path):
    run = trainer(tmp_path, save_every=1)
    run.workers = 1

    def assigner(*scene):
        if run.step == 2:
            multiprocessing.active_children()[0].kill()
        return simota(*scene)

    run.learner.assigner = assigner
    words = rf"yolox-ops: a process that makes batches has died: DataLoader worker \(pid.*\n--resume {tmp_path} goes on"
    began = time.monotonic()
    with pytest.raises(SystemExit, match=words), command.ended(tmp_path):
        run.run(progress=False)
    assert time.monotonic() - began < 30 and multiprocessing.active_children() == []
    again = trainer(tmp_path, resume=True)
    assert again.step >= 2
    batches = train_loader(again.train_set, RECIPE, Plan(RECIPE, 16, start=again.step), workers=0, device=ALONE.device)
    again.one_step(again.learner.model, next(iter(batches)))
    assert again.learner.nan_steps == 0


SLOW = """
import os, time, torch
from yolox_ops.trainer.data.loader import loader

class Slow(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, i):
        print(os.getpid(), flush=True)
        time.sleep(60)

next(iter(loader(Slow(), 1)))
"""


def test_a_worker_ends_with_its_run():
    """At once, whatever it does; torch's own look after the parent comes between two batches."""
    with subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE, cwd=ROOT) as run:
        worker = int(run.stdout.readline())
        run.kill()
    faults.gone([worker])


def test_a_worker_whose_run_was_killed_before_it_began():
    worker = multiprocessing.get_context("spawn").Process(target=_tie_to, args=(1, 0))  # its parent is another
    worker.start()
    worker.join()
    assert worker.exitcode == 1


def test_ctrl_c_ends_in_one_line(tmp_path):
    words = rf"^yolox-ops: interrupted\n{tmp_path} has no checkpoint yet$"
    with pytest.raises(SystemExit, match=words), command.ended(tmp_path):
        raise KeyboardInterrupt


def test_a_blocked_output_is_not_taken_for_a_held_folder(tmp_path):
    with pytest.raises(BlockingIOError, match="could not complete"), command.ended(tmp_path):
        raise BlockingIOError(errno.EAGAIN, "write could not complete without blocking")


def test_a_rank_lost_before_the_first_step(tmp_path, monkeypatch):
    def lost(*_):
        raise RuntimeError("[pair.cc:547] gloo: Connection closed by peer")

    trainer(tmp_path).save()
    monkeypatch.setattr(Ranks, "agree", lost)
    words = rf"^yolox-ops: another process of the run has ended, .* by peer\n--resume {tmp_path} goes on from the last"
    with pytest.raises(SystemExit, match=words):
        main(["train", "--resume", str(tmp_path), "--no-progress"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("Unable to allocate 7.28 TiB"), "out of memory: Unable to allocate 7.28 TiB"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            "a step must fit into memory; --batch .* Tried",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "a step must fit into memory; --batch .*",
        ),
    ],
)
def test_a_step_that_memory_does_not_hold(tmp_path, error, words):
    words = rf"^yolox-ops: {words}\n{tmp_path} has no checkpoint yet$"
    with pytest.raises(SystemExit, match=words), command.ended(tmp_path):
        raise error


def test_a_killed_rank_ends_the_others_and_they_go_on(tmp_path):
    """Without torchrun's agent, which would end the others itself."""
    folder = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def ranks():
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        return [faults.start(folder, *OFTEN, RANK=str(rank), **place) for rank in range(2)]

    first, second = ranks()
    deadline = time.monotonic() + 120
    while not (folder / "last.pt").exists():
        assert time.monotonic() < deadline and first.is_alive(), faults.said(folder)
        time.sleep(0.01)
    second.kill()
    first.join(30)
    assert first.exitcode == 1, faults.said(folder)
    words = "yolox-ops: process 0 of 2: another process of the run has ended, or cannot be reached: "
    assert words in faults.said(folder) and f"--resume {folder} goes on from the last checkpoint" in faults.said(folder)
    before = checkpoint(folder)["step"]
    for process in ranks():
        process.join(120)
        assert process.exitcode == 0, faults.said(folder)
    assert before < checkpoint(folder)["step"] == 12
