"""kill -9 at random moments of tiny trainings: PYTHONPATH=.:tests/support python tests/programs/faults.py --kills 100

Each run is killed, resumed and killed again until it is done, and must then hold the same bits as one that never was.
Nothing is repaired in between, every checkpoint that is there is whole, and no temporary file is left.
"""

import argparse
import contextlib
import ctypes
import itertools
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from runs import WORDS, checkpoint, equal

from yolox_ops._files import UNFINISHED
from yolox_ops.cli import main
from yolox_ops.trainer.train.log import read
from yolox_ops.trainer.train.trainer import Trainer
from yolox_ops.yolox.checkpoint_file import read_checkpoint

# A process that has everything imported, from which each run is forked: a start takes no time. Ranks are spawned, for
# gloo has hung in forks of it.
SERVER = multiprocessing.get_context("forkserver")
LATE = ("yolox_ops.trainer.train.command", "sklearn.datasets", "torch.utils.tensorboard", "torch._dynamo")
SERVER.set_forkserver_preload(["faults", *LATE])
# What a run can be doing: "other" is anything else, such as reading its checkpoint, with which it begins.
MOMENTS = ("other", "step", "save", "evaluate")
METHODS = {"one_step": "step", "save": "save", "evaluate": "evaluate"}
TIMES = {"other": 0.2, "step": 0.08, "save": 0.03, "evaluate": 0.06}  # about how many seconds each takes
FILES = {"last.pt", "previous.pt", "best.pt", "steps.csv", "epochs.csv", "curves.png", "tensorboard"}


class Doing(ctypes.Structure):
    """What a run shares: the moment it is in, the one to kill it in, how many of those have yet to begin, and whether
    it waits at the end of that one for being killed. Moments are numbers of MOMENTS."""

    _fields_ = (("now", ctypes.c_int), ("aim", ctypes.c_int), ("left", ctypes.c_int), ("stay", ctypes.c_bool))

    def begin(self, number: int) -> None:
        self.now = number
        self.left -= number == self.aim

    def end(self) -> None:
        while self.stay and self.now == self.aim and self.left <= 0:
            signal.pause()


def command(folder: Path, words: tuple[str, ...], doing: Doing, environment: dict[str, str]) -> None:
    """`yolox-ops train` in a process of its own, which says in `doing` what it does. Its words go to a file beside
    `folder`."""
    doing.begin(0)
    os.environ.update(environment)
    multiprocessing.set_start_method("fork", force=True)  # of workers, as it is in a process that a user starts
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    said = folder.with_name(f"{folder.name}-{environment.get('RANK', 0)}.txt").open("a", buffering=1)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(said.fileno(), stream.fileno())
    for name, kind in METHODS.items():
        setattr(Trainer, name, announced(getattr(Trainer, name), MOMENTS.index(kind), doing))
    main(["train", "--no-progress", *words])


def announced(method, number: int, doing: Doing):
    def call(self, *args):
        outer = doing.now
        doing.begin(number)
        try:
            answer = method(self, *args)
            doing.end()
            return answer
        finally:
            doing.begin(outer)

    return call


def start(folder: Path, *words: str, doing: Doing | None = None, **environment: str):
    """A new run in the folder, or on with the one that is there."""
    begun = (folder / "last.pt").exists()
    words = ("--resume", str(folder), *words) if begun else (*WORDS, "--out", str(folder), *words)
    context = multiprocessing.get_context("spawn") if "RANK" in environment else SERVER
    process = context.Process(target=command, args=(folder, words, doing or aim("other"), environment))
    with pytest.MonkeyPatch.context() as patch:  # the server, which the first start starts, looks for modules there
        patch.setenv("PYTHONPATH", os.pathsep.join(str(Path(p).resolve()) for p in sys.path if p))
        process.start()
    return process


def aim(kind: str, left: int = 1, stay: bool = False) -> Doing:
    return SERVER.Value(Doing, 0, MOMENTS.index(kind), left, stay, lock=False)


def kill(folder: Path, kind: str, *words: str, left: int | None = None, stay: bool = False) -> str | None:
    """Starts a run, kills it at random about the `left`-th moment of that kind, or about one of the first three, and
    returns what it was doing when it died; None if it was done before. One that is to stay does not leave that moment.
    """
    doing = aim(kind, left or random.choice((1, 1, 2, 3)), stay)
    process = start(folder, *words, doing=doing)
    deadline = time.monotonic() + 120
    while process.exitcode is None and doing.left > 0:
        assert time.monotonic() < deadline, f"{folder} hangs"
        time.sleep(0.0005)
    time.sleep(random.uniform(0, TIMES[kind]))
    workers = children(process.pid)
    process.kill()
    process.join()
    if process.exitcode == 0:
        return None
    assert process.exitcode == -signal.SIGKILL, said(folder)
    for path in folder.glob("*.pt"):
        read_checkpoint(path)
    gone(workers)
    return MOMENTS[doing.now]


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):  # it has ended
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return []


def gone(workers: list[int]) -> None:
    """Waits for the workers of a killed run, which look after their parent every five seconds."""
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, f"workers {workers} have outlived their run"
        time.sleep(0.05)


def said(folder: Path, rank: int = 0) -> str:
    return folder.with_name(f"{folder.name}-{rank}.txt").read_text()


def finish(folder: Path, *words: str) -> None:
    """Lets a run end."""
    process = start(folder, *words)
    process.join()
    assert process.exitcode == 0, said(folder)


def check(folder: Path, whole: Path) -> None:
    """Whether a run ended as the one that was never killed."""
    for name in ("last.pt", "best.pt"):
        assert equal(checkpoint(folder, name), checkpoint(whole, name)), f"{folder / name}: other bits"
    for name in ("steps.csv", "epochs.csv"):
        assert rows(folder, name) == rows(whole, name), f"{folder / name}: other rows"
    assert {path.name for path in folder.iterdir()} == FILES


def rows(folder: Path, name: str) -> list[str]:
    """A table but for the time that steps took; as text, for NaN is not itself."""
    return [str({k: v for k, v in row.items() if k != "seconds_per_step"}) for row in read(folder / name)]


def many(kills: int, place: Path, seed: int) -> None:
    random.seed(seed)
    done, runs, litter, began = Counter(), 0, 0, time.monotonic()
    whole = place / "whole"
    often = ("--save-every", "1", "--workers", "0")
    finish(whole, *often)
    while done.total() < kills:
        folder = place / f"run{runs}"
        words = ("--save-every", "1", "--workers", "1" if runs % 4 == 3 else "0")
        for kind in itertools.cycle(random.sample(MOMENTS, len(MOMENTS))):
            doing = kill(folder, kind, *words) if done.total() < kills else finish(folder, *words)
            if doing is None:
                break
            done[doing] += 1
            litter += bool(list(folder.glob(f"{UNFINISHED}*")))
        check(folder, whole)
        runs += 1
        print(f"{done.total()} kills {dict(done)}, {runs} runs with the bits of one never killed", flush=True)
    print(f"{litter} kills left a temporary file, none outlived the next start; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    given = parser.parse_args()
    print(f"seed {given.seed}")
    with tempfile.TemporaryDirectory() as made:
        many(given.kills, Path(made), given.seed)
