"""What a user sees of bad data on the command line: one line, a status that is not 0, no traceback, no half run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  when first imported it writes its list of fonts at home
import pytest
import torch
from coco_files import image, thing, write_coco
from runs import ROOT

from yolox_ops.cli import main
from yolox_ops.yolox import yolox_nano

NAME = "é".encode() + b"\xff\x1b[2J.png"  # has more than ASCII, is not UTF-8, and clears a terminal


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working folder, with data, a model of its classes and nothing else."""
    monkeypatch.chdir(tmp_path)
    write_coco(tmp_path, [thing(1), thing(2, image_id=2)])
    settings = {"model": "yolox_nano", "class_names": ["cat", "dog"], "height": 32, "width": 32}
    torch.save({"model": yolox_nano(2).state_dict(), "settings": settings}, tmp_path / "x.pt")
    return tmp_path


TRAIN = (
    "train",
    "--data",
    "train.json",
    "--val-data",
    "train.json",
    "--model",
    "yolox_nano",
    "--size",
    "32",
    "--epochs",
)
TRAIN = (*TRAIN, "1", "--batch", "2", "--no-progress", "--mosaic", "0")


@pytest.mark.parametrize("words", [TRAIN, ("eval", "x.pt", "--data", "train.json")], ids=["train", "eval"])
@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("{", "train.json must be JSON, got Expecting property name"),
        ('{"a":' * 10**5, "train.json must be JSON, got "),
        ('{"images": []}', "train.json must be an object with images, annotations and categories, got ['images']"),
        (json.dumps({"images": [image(3)], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}), "got none: "),
        (json.dumps({"images": [], "annotations": [], "categories": [[]]}), "train.json: categories[0] must be an obj"),
    ],
)
def test_a_bad_json_is_one_line(place, words, content, fact):
    (place / "train.json").write_text(content)
    before = sorted(os.listdir(place))
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = ended.value.code
    assert said.startswith("yolox-ops: train.json") and fact in said and "\n" not in said
    assert sorted(os.listdir(place)) == before


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("words", [TRAIN, ("eval", "x.pt", "--data", "train.json")], ids=["train", "eval"])
def test_an_image_that_is_refused_is_one_line(place, words, workers):
    """Also where a worker reads it, whose errors come with a traceback."""
    (place / "2.png").write_bytes(b"no image")
    with pytest.raises(SystemExit) as ended:
        main([*words, "--on-bad", "refuse", "--workers", workers])
    assert ended.value.code == (
        "yolox-ops: train.json: images[1] (id 2, '2.png'): the file must be a whole image that OpenCV reads, got none"
    )


def test_names_that_a_terminal_cannot_show(place):
    """A process of its own, for the encoding of its output is what this is about."""
    folder = place / "in"
    folder.mkdir()
    (folder / os.fsdecode(NAME)).write_bytes(b"no image")
    (place / "1.png").rename(folder / "é.png")
    command = [sys.executable, "-m", "yolox_ops", "predict", "x.pt", "in", "--size", "32"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert rb"passed over: in/\xe9\udcff\x1b[2J.png: the file must be" in done.stdout
    assert b"1 files were no images" in done.stdout and b"Traceback" not in done.stderr


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("words", [("info",), ("eval", "x.pt", "--data", "train.json")], ids=["info", "eval"])
def test_an_output_that_is_full(place, words, buffered):
    """A process of its own, for Python tries the rest of its output again when it ends."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "yolox_ops", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": buffered}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert (done.returncode, done.stderr) == (1, "yolox-ops: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("stream", [1, 2])
def test_an_output_that_is_closed(place, stream):
    words = [sys.executable, "-m", "yolox_ops", "eval", "x.pt", "--data", "train.json"]
    command = ["sh", "-c", f'exec "$@" {stream}>&-', "sh", *words]
    closed = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert closed.returncode == 0 and b"Traceback" not in closed.stderr
    assert (b"NMS" in closed.stdout) == (stream == 2)


@pytest.mark.parametrize(
    ("environment", "fact"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE must be a number in the environment, as torchrun sets it, got 'two'"),
        ({"WORLD_SIZE": "2", "MASTER_PORT": "29500"}, "RANK must be a number in the environment, .* got ''"),
    ],
)
def test_half_of_torchruns_environment(place, monkeypatch, environment, fact):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"^yolox-ops: {fact}"):
        main(list(TRAIN))
    assert not (place / "run").exists()


@pytest.mark.parametrize("device", ["meta", "mkldnn"])
def test_devices_without_kernels(place, device, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["eval", "x.pt", "--data", "train.json", "--device", device])
    assert f"argument --device: must be cpu or cuda, got '{device}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--workers", "-1"),
        ("train", "--seed", "9" * 5000),
        ("eval", "x.pt", "--data", "digits", "--workers", "many"),
        ("compare-assigners", "--workers", "-1"),
        ("demo", "--seed", "-1"),
    ],
    ids=["train", "seed", "eval", "compare", "demo"],
)
def test_wrong_counts_are_refused(place, words, capsys):
    before = sorted(os.listdir(place))
    with pytest.raises(SystemExit, match=r"^2$"):
        main(list(words))
    said = capsys.readouterr().err
    assert re.search("must be an integer of at least 0( of at most 9 digits)?, got '", said) and len(said) < 4000
    assert sorted(os.listdir(place)) == before


CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "open"}
CHANGES |= {"os.chown", "os.utime"}
SYSTEM = ("/dev/", "/proc/")
changes: list[str] | None = None


def watch(event, words):
    """An audit hook, which Python cannot take away again: what is changed on any disk while `changes` is a list."""
    if changes is None or event not in CHANGES:
        return
    if event == "open" and not words[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
        return
    if isinstance(words[0], str | bytes | os.PathLike):  # a number is a file that is open
        changes.append(os.path.abspath(os.fsdecode(words[0])))


sys.addaudithook(watch)


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def test_nothing_is_written_beside_the_output(place, monkeypatch):
    """What Python opens, on any disk, and what any code leaves where the command works, at home or in TMPDIR.
    `tests/programs/outside.py` sees all that the kernel sees, of more commands."""
    for name, variable in {"home": "HOME", "temporary": "TMPDIR"}.items():
        (place / name).mkdir()
        monkeypatch.setenv(variable, str(place / name))
    monkeypatch.setattr("tempfile.tempdir", None)
    before, out = contents(place), place / "out"
    monkeypatch.setitem(globals(), "changes", [])
    assert main([*TRAIN, "--workers", "0", "--out", "out/run"]) == 0
    assert main(["eval", "out/run/last.pt", "--data", "train.json"]) == 0
    assert main(["predict", "out/run/last.pt", "1.png", "--out", "out/found"]) == 0
    seen = {Path(path) for path in changes if not path.startswith(SYSTEM) and "/__pycache__" not in path}
    monkeypatch.setitem(globals(), "changes", None)
    assert {out / "run/steps.csv", out / "found"} < seen
    assert not [path for path in seen if out not in (path, *path.parents)]
    assert {path: data for path, data in contents(place).items() if out not in (path, *path.parents)} == before


@pytest.mark.parametrize("variable", [None, "0"])
def test_onnx_runtime_keeps_no_notes_at_home_unless_asked(place, variable):
    """Left alone, its import writes the id of a device and a data base to ~/.cache/Microsoft."""
    (place / "home").mkdir()
    code = "import torch; from yolox_ops.trainer.export import export_onnx; from yolox_ops.yolox import yolox_nano\n"
    code += "from pathlib import Path\ntry: export_onnx(yolox_nano(2).eval(), Path('x.onnx'), 32, 32, batch=0)\n"
    code += "except ValueError: import os, sys; assert 'onnxruntime' in sys.modules\n"
    code += "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(place / "home")}
    environment |= {"ORT_DISABLE_TELEMETRY": variable} if variable else {}
    command = [sys.executable, "-W", "ignore", "-c", code]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert told == f"{variable or 1}\n"
    assert variable or not list((place / "home").rglob("*"))
