"""Run folders that somebody else has made or spoiled: `--resume` says what is wrong with which file."""

import errno
import fcntl
import multiprocessing
import os
import re

import pytest
import torch
from runs import WORDS, checkpoint, trainer

from yolox_ops._files import UNFINISHED, held, remove_unfinished
from yolox_ops.cli import main
from yolox_ops.trainer.train import command
from yolox_ops.trainer.train.command import DATA
from yolox_ops.trainer.train.log import read
from yolox_ops.trainer.train.trainer import Trainer


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The content of a last.pt after a step, with a scaler as a run of fp16 has it."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    words = ("--workers", "0", "--epochs", "1", "--warmup-epochs", "0", "--no-aug-epochs", "0", "--count", "4")
    assert main(["train", *WORDS, *words, "--no-progress", "--out", str(folder)]) == 0
    content = checkpoint(folder)
    recipe = content["recipe"] | {"amp": "fp16"}
    return content | {"recipe": recipe, "scaler": torch.amp.GradScaler("cpu").state_dict()}


def refused(folder, *words):
    """What the command says that goes on with this run."""
    with pytest.raises(SystemExit) as ended:
        main(["train", "--resume", str(folder), "--no-progress", "--workers", "0", *words])
    said = ended.value.code
    assert said.startswith("yolox-ops: ") and len(said) < 2000
    return said


def other(content, place, value):
    """The content with another value at a place; None takes it away."""
    name, *rest = place
    changed = dict(content)
    changed[name] = other(content[name], rest, value) if rest else value
    if value is None and not rest:
        del changed[name]
    return changed


NAN = float("nan")
MOMENTUM = ("optimizer", "state", 0, "momentum_buffer")
FAULTS = {
    "no step": (("step",), None, "last.pt must be the checkpoint of a run, got step missing"),
    "step of text": (("step",), "7", "step in .*last.pt must be of type int, got '7'"),
    "step of a bool": (("step",), True, "step in .*last.pt must be of type int, got True"),
    "negative step": (("step",), -1, "step in .*last.pt must be in .*, got -1"),
    "huge step": (("step",), 10**30, "step in .*last.pt must be in "),
    "step beyond the run": (("step",), 99, "step in .*last.pt must be one of 1, got 99"),
    "best of NaN": (("best",), NAN, "best in .*last.pt must be an average precision, got NaN"),
    "best of text": (("best",), "high", "best in .*last.pt must be of type float"),
    "recipe of a list": (("recipe",), [1], "recipe in .*last.pt must be of type dict, got"),
    "unknown in the recipe": (("recipe", "x" * 10**6), 1, "recipe in .*last.pt must be one of this version, got also"),
    "other model": (("recipe", "model"), "resnet", "got model must be one of 'yolox_nano'"),
    "lr of text": (("recipe", "lr"), "fast", "got lr must be a number, got 'fast'"),
    "absurd height": (("recipe", "height"), 2**40 * 32, "got height and width must be multiples of 32 up to 8192"),
    "absurd batch": (("recipe", "batch"), 2**40, "got batch must be at most 65536"),
    "data of a number": (("about", "data"), 5, "data of the data in .*last.pt must be of type str, got 5"),
    "count of text": (("about", "count"), "many", "count of the data in .*last.pt must be of type int"),
    "negative count": (("about", "count"), -4, "images must be at least 1, got -4"),
    "other data": (("about", "val_data"), "nowhere/x.json", r"No such file or directory: 'nowhere/x\.json'"),
    "weights of a list": (("raw",), [], "raw in .*last.pt must be of type dict"),
    "no weights": (("raw",), {}, "last.pt must have the names and shapes of the model, got missing"),
    "weight of text": (("model", "backbone.backbone.stem.conv.conv.weight"), "x", "must hold a state dict"),
    "average of another shape": (
        ("model", "head.cls_preds.0.bias"),
        torch.zeros(3),
        r"got misshapen head.cls_preds.0.bias \[3\] for \[10\]",
    ),
    "no momentum": (("optimizer", "state"), None, "optimizer in .*last.pt must have a state of 330 parameters at most"),
    "momentum of a stranger": (("optimizer", "state", 999), {}, "must have a state of 330 parameters at most"),
    "momentum of a list": (("optimizer", "state", 0), [], "the momentum of each parameter, not so of 0"),
    "momentum of a number": (MOMENTUM, 3.0, "the momentum of each parameter, not so of 0"),
    "momentum of one number": (MOMENTUM, torch.zeros(1), "the momentum of each parameter, not so of 0"),
    "no scale": (("scaler", "scale"), None, "scaler in .*last.pt must have a positive scale"),
    "scale of NaN": (("scaler", "scale"), NAN, "scaler in .*last.pt must have a positive scale"),
    "growth of text": (("scaler", "_growth_tracker"), "x", "scaler in .*last.pt must have a positive scale"),
    "no generator": (("random", "cpu"), None, "random in .*last.pt must be the state of torch's generators, got 'cpu'"),
    "generator of text": (("random", "cpu"), "x", "random in .*last.pt must be the state of torch's generators"),
    "short generator": (("random", "cpu"), torch.zeros(5, dtype=torch.uint8), "the state of torch's generators, got"),
    "generator of zeros": (("random", "cpu"), torch.zeros(5056, dtype=torch.uint8), "the state of torch's generators"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_of_other_values(tmp_path, whole, fault):
    place, value, words = FAULTS[fault]
    torch.save(other(whole, place, value), tmp_path / "last.pt")
    assert re.search(words, refused(tmp_path))
    assert os.listdir(tmp_path) == ["last.pt"]


def test_expanded_tensors_of_a_checkpoint_can_be_updated(tmp_path, whole):
    """A momentum of one number, seen as many: no update could write to it."""
    name = "backbone.backbone.stem.conv.conv.weight"
    places = [i for i, entry in whole["optimizer"]["state"].items() if entry["momentum_buffer"].dim() == 4]
    shape = whole["optimizer"]["state"][places[0]]["momentum_buffer"].shape
    place = ("optimizer", "state", places[0], "momentum_buffer")
    content = other(whole, place, torch.ones(1, 1, 1, 1).expand(shape)) | {"step": 0, "evaluated": 0}
    content = other(content, ("scaler", "scale"), 1.0)  # with which no step is skipped
    torch.save(other(content, ("raw", name), torch.ones(1).expand(whole["raw"][name].shape)), tmp_path / "last.pt")
    assert main(["train", "--resume", str(tmp_path), "--no-progress", "--workers", "0"]) == 0
    assert checkpoint(tmp_path)["step"] == 1


def test_an_older_run_gets_defaults_for_newer_settings(tmp_path, whole):
    content = other(whole, ("recipe", "assigner"), None) | {"step": 0, "evaluated": 0}
    torch.save(other(content, ("about", "on_bad"), None), tmp_path / "last.pt")
    assert main(["train", "--resume", str(tmp_path), "--no-progress", "--workers", "0"]) == 0
    assert checkpoint(tmp_path)["about"] == whole["about"] and whole["about"].keys() == DATA.keys()


TABLES = {
    "empty": (b"", r"line 1: \[\] for the names"),
    "cut short": (b"step,total", r"line 1: \[\] for the names"),
    "of other names": (b"time,total\n1,2\n", r"line 1: \['time', 'total'\] for the names"),
    "a short row": (b"step,total\n1,2\n2\n", "line 3: "),
    "a long row": (b"step,total\n1,2,3\n", "line 2: "),
    "a word": (b"step,total\n1,two\n", "line 2: could not convert string to float: 'two'"),
    "not UTF-8": (b"step,total\n1,\xff\n", "line 2: could not convert string to float: '\ufffd'"),
    "out of range": (b"step,total\n1,1e300\n", "line 2: 1e300 is out of range"),
    "a long field": (b'step,total\n1,"' + b"9" * 200_000 + b'"\n', "line 2: field larger than field limit"),
}


@pytest.mark.parametrize("table", TABLES)
def test_a_broken_table(tmp_path, whole, table):
    content, words = TABLES[table]
    torch.save(whole, tmp_path / "last.pt")
    (tmp_path / "steps.csv").write_bytes(content)
    said = refused(tmp_path)
    assert re.search(rf"steps\.csv must be a table of a run, step first, got in {words}", said)
    assert (tmp_path / "steps.csv").read_bytes() == content


def test_a_pipe_for_a_table_is_not_waited_for(tmp_path, whole):
    torch.save(whole, tmp_path / "last.pt")
    os.mkfifo(tmp_path / "epochs.csv")
    assert "epochs.csv: the file must be a regular one, got a pipe" in refused(tmp_path)


@pytest.mark.parametrize("kind", ["link", "dangling", "file"])
def test_tensorboards_folder_may_not_be_a_link(tmp_path, whole, kind):
    (tmp_path / "outside").mkdir()
    (tmp_path / "run").mkdir()
    torch.save(whole, tmp_path / "run" / "last.pt")
    place = tmp_path / "run" / "tensorboard"
    if kind == "file":
        place.touch()
    else:
        place.symlink_to("../outside" if kind == "link" else "../outside/new")
    assert "run/tensorboard must be a folder of this run's, got a link or a file" in refused(tmp_path / "run")
    assert os.listdir(tmp_path / "outside") == []


def test_a_checkpoint_that_asks_for_more_than_memory(tmp_path, whole, monkeypatch):
    """As a bytearray(10**13) does, for which a pickle needs few bytes."""

    def load(*_, **__):
        raise MemoryError

    torch.save(whole, tmp_path / "last.pt")
    monkeypatch.setattr(torch, "load", load)
    assert f"out of memory: {tmp_path}/last.pt must fit into memory\n" in refused(tmp_path)
    with pytest.raises(SystemExit, match=rf"^yolox-ops: {tmp_path}/last.pt must fit into memory$"):
        main(["predict", str(tmp_path / "last.pt"), __file__])


def test_a_link_to_nowhere_is_a_run(tmp_path):
    """Its disk may not be there for the moment."""
    (tmp_path / "last.pt").symlink_to("/nowhere/last.pt")
    with pytest.raises(SystemExit, match=rf"^{tmp_path} holds a run: --resume {tmp_path} goes on with it"):
        main(["train", *WORDS, "--out", str(tmp_path)])
    assert "No such file or directory" in refused(tmp_path) and os.listdir(tmp_path) == ["last.pt"]


def test_only_folders_of_killed_writers_are_removed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / f"{UNFINISHED}file").touch()
    (tmp_path / f"{UNFINISHED}link").symlink_to(kept)
    os.mkfifo(tmp_path / f"{UNFINISHED}pipe")
    (tmp_path / f"{UNFINISHED}folder").mkdir()
    remove_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(
        [*(f"{UNFINISHED}{name}" for name in ("file", "link", "pipe")), "kept"]
    )


@pytest.mark.parametrize("word", ["--out", "--resume"])
def test_two_runs_in_one_folder(tmp_path, word):
    """The second would spoil the first one's tables and checkpoints."""
    words = rf"^yolox-ops: another process trains in {tmp_path}: wait for it, or take another folder$"
    with held(tmp_path), pytest.raises(SystemExit, match=words):
        main(["train", word, str(tmp_path)])


SMALL = ("--count", "4", "--val-count", "4", "--out", "new")


@pytest.mark.parametrize(
    ("words", "folder", "looks"),
    [
        (("train", *WORDS, "--out", "new"), "new", 2),
        (("train", "--resume", "old"), "old", 3),
        (("demo", *SMALL), "new", 1),
        (("compare-assigners", "--seeds", "1", *SMALL), "new/runs/simota-1", 1),
    ],
    ids=["train", "resume", "demo", "compare"],
)
def test_a_training_run_holds_its_folder(tmp_path, whole, monkeypatch, words, folder, looks):
    """Before it looks what is there, and until it is done. A folder into which nothing was put goes again."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    torch.save(whole, tmp_path / "old" / "last.pt")
    seen = []

    def held_now():
        with pytest.raises(BlockingIOError), held(tmp_path / folder):
            pass
        seen.append(True)

    def run(*_, **__):
        held_now()
        raise KeyboardInterrupt

    saved, read = command.saved, command.last_saved
    monkeypatch.setattr(command, "way_on", lambda folder: "")
    monkeypatch.setattr(command, "saved", lambda folder: held_now() or saved(folder))
    monkeypatch.setattr(command, "last_saved", lambda folder: held_now() or read(folder))
    monkeypatch.setattr(Trainer, "run", run)
    with pytest.raises(SystemExit, match=r"^yolox-ops: interrupted"):
        main(list(words))
    assert len(seen) == looks and (folder == "old" or not (tmp_path / folder).exists())
    with held(tmp_path / folder):  # it is free again
        pass


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_worker_that_outlives_its_run_holds_no_folder(tmp_path):
    """A worker outlives a killed run by some seconds."""
    fork = multiprocessing.get_context("fork")
    begun, done = fork.Event(), fork.Event()

    def work():
        begun.set()
        done.wait()

    with held(tmp_path):
        worker = fork.Process(target=work)
        worker.start()
    begun.wait()
    with held(tmp_path):
        assert worker.is_alive()
    done.set()
    worker.join()


def test_where_there_are_no_locks_a_run_goes_on(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    left = tmp_path / f"{UNFINISHED}left"
    left.mkdir()
    with held(tmp_path), held(tmp_path):
        remove_unfinished(tmp_path)
    assert left.exists()


def test_a_run_that_ended_can_be_resumed(tmp_path):
    run = trainer(tmp_path)
    run.run(progress=False)
    before = (tmp_path / "steps.csv").read_bytes()
    trainer(tmp_path, resume=True).run(progress=False)
    assert (tmp_path / "steps.csv").read_bytes() == before and len(read(tmp_path / "epochs.csv")) == 2
