"""kill -9 at random moments of tiny trainings: python tests/faults.py --kills 100

Each run is killed, resumed and killed again until it is done, and must then hold the same bits as one that never was.
Nothing is repaired in between, every checkpoint that is there is whole, and no temporary file is left.
"""

import argparse
import contextlib
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
from yolox_ops.yolox.checkpoint_file import read_checkpoint
from yolox_ops.yolox.train.log import read
from yolox_ops.yolox.train.trainer import Trainer

# A process that has everything imported, from which each run is forked: a start takes no time.
SERVER = multiprocessing.get_context("forkserver")
LATE = ("yolox_ops.yolox.train.command", "sklearn.datasets", "torch.utils.tensorboard", "torch._dynamo")
SERVER.set_forkserver_preload(["faults", *LATE])
# What a run is doing, in the number that it shares: 0 is anything else, such as reading its checkpoint.
MOMENTS = ("begin", "step", "save", "evaluate")
METHODS = {"one_step": 1, "save": 2, "evaluate": 3}
TIMES = {"begin": 0.2, "step": 0.08, "save": 0.03, "evaluate": 0.06}  # about how many seconds each takes
FILES = {"last.pt", "previous.pt", "best.pt", "steps.csv", "epochs.csv", "curves.png", "tensorboard"}


def command(folder: Path, words: tuple[str, ...], now, environment: dict[str, str]) -> None:
    """`yolox-ops train` in a process of its own, which says in `now` what it does. Its words go to a file beside
    `folder`."""
    os.environ.update(environment)
    multiprocessing.set_start_method("fork", force=True)  # of workers, as it is in a process that a user starts
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    said = folder.with_name(f"{folder.name}-{environment.get('RANK', 0)}.txt").open("a", buffering=1)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(said.fileno(), stream.fileno())
    for name, number in METHODS.items():
        setattr(Trainer, name, announced(getattr(Trainer, name), number, now))
    main(["train", "--no-progress", *words])


def announced(method, number, now):
    def call(self, *args):
        outer, now.value = now.value, number
        try:
            return method(self, *args)
        finally:
            now.value = outer

    return call


def start(folder: Path, *words: str, now=None, **environment: str):
    """A new run in the folder, or on with the one that is there."""
    begun = (folder / "last.pt").exists()
    words = ("--resume", str(folder), *words) if begun else (*WORDS, "--out", str(folder), *words)
    now = moment() if now is None else now  # 0 counts as false
    process = SERVER.Process(target=command, args=(folder, words, now, environment))
    with pytest.MonkeyPatch.context() as patch:  # the server, which the first start starts, looks for modules there
        patch.setenv("PYTHONPATH", os.pathsep.join(str(Path(p).resolve()) for p in sys.path if p))
        process.start()
    return process


def moment():
    return SERVER.Value("i", 0, lock=False)


def kill(folder: Path, kind: str, *words: str, left: int | None = None, delay: float | None = None) -> str | None:
    """Starts a run, kills it `delay` seconds into the `left`-th moment of that kind, or at random, and returns what it
    was doing; None if it was done before."""
    now = moment()
    process = start(folder, *words, now=now)
    left = left or random.choice((1, 1, 2, 3))
    number, inside = MOMENTS.index(kind), False
    deadline = time.monotonic() + 120
    while process.exitcode is None and left:
        assert time.monotonic() < deadline, f"{folder} hangs"
        if (now.value == number) != inside:
            inside = not inside
            left -= inside
        time.sleep(0.0005)
    time.sleep(random.uniform(0, TIMES[kind]) if delay is None else delay)
    workers = children(process.pid)
    process.kill()
    process.join()
    if process.exitcode == 0:
        return None
    assert process.exitcode == -signal.SIGKILL, said(folder)
    for path in folder.glob("*.pt"):
        read_checkpoint(path)
    gone(workers)
    return MOMENTS[now.value]


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
