"""Checkpoints made to do harm, or of something else: refused in words, and nothing in them runs."""

import contextlib
import io
import os
import pickle
import re
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from yolox_ops.cli import main
from yolox_ops.yolox import load_checkpoint, open_model

SETTINGS = {"model": "yolox_nano", "class_names": ["cat", "dog", "owl"], "height": 160, "width": 256}
CONV, BIAS, COUNT = "0.weight", "0.bias", "1.num_batches_tracked"


def small():
    return nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64))


@pytest.fixture
def weights():
    """What `small` has, and what open_model asks for first."""
    return {**small().state_dict(), "head.cls_preds.0.bias": torch.zeros(3)}


class Code:
    """What runs a command when it is unpickled."""

    told = "posix.system"

    def __init__(self, path):
        self.command = f"touch {path}"

    def __reduce__(self):
        return os.system, (self.command,)


class Source(Code):
    told = "eval"

    def __reduce__(self):
        return eval, (f"__import__('os').{self.command!r}",)


def as_tar(path, code):
    """The format of torch 0.1."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            data = pickle.dumps(code, 2)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def as_zip(path, content, change, kind=zipfile.ZIP_STORED):
    """A zip of torch.save with the records that `change` gives for each, name, data -> [(name, data), ...]."""
    file = io.BytesIO()
    torch.save(content, file)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w", kind) as new:
        for record in old.namelist():
            for name, data in change(record, old.read(record)):
                new.writestr(name, data)


FORMS = {
    "zip": lambda path, code, weights: torch.save({"model": weights, "extra": code}, path),
    "zip-in-the-weights": lambda path, code, weights: torch.save({"model": {**weights, BIAS: code}}, path),
    "zip-in-the-settings": lambda path, code, weights: torch.save({"model": weights, "settings": code}, path),
    "zip-of-a-plain-pickle": lambda path, code, weights: as_zip(
        path, weights, lambda name, data: [(name, pickle.dumps(code, 2) if name.endswith("data.pkl") else data)]
    ),
    "legacy": lambda path, code, weights: torch.save(
        {"model": weights, "extra": code}, path, _use_new_zipfile_serialization=False
    ),
    "tar": lambda path, code, weights: as_tar(path, code),
    **{
        f"pickle-{protocol}": lambda path, code, weights, protocol=protocol: path.write_bytes(
            pickle.dumps(code, protocol)
        )
        for protocol in (0, 1, 2, 4, 5)
    },
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("code", [Code, Source])
@pytest.mark.parametrize("form", FORMS)
def test_code_never_runs(tmp_path, weights, form, code):
    path = tmp_path / "x.pth"
    FORMS[form](path, code(tmp_path / "ran"), weights)
    for load in (lambda: load_checkpoint(path, small()), lambda: open_model(path, name="yolox_nano")):
        with pytest.raises(
            ValueError, match=r"x\.pth must (hold tensors and plain values only|be a whole file)"
        ) as error:
            load()
        said = str(error.value)
        assert "\n" not in said and "\x1b" not in said and "False" not in said  # torch names ways to run it
        assert re.search(rf", got {code.told};|, got Unsupported operand 1\d\d;|legacy \.tar format", said)
    assert os.listdir(tmp_path) == ["x.pth"]


@pytest.mark.parametrize("command", ["eval", "predict", "export", "train"])
def test_commands_refuse_code(tmp_path, weights, command, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.png").touch()
    torch.save({"model": weights, "extra": Code(tmp_path / "ran")}, tmp_path / "x.pth")
    words = {"eval": ["x.pth", "--data", "digits"], "predict": ["x.pth", "x.png"], "export": ["x.pth"]}
    train = ["--weights", "x.pth", "--model", "yolox_nano", "--size", "64", "--count", "4", "--val-count", "4"]
    with pytest.raises(SystemExit, match=r"^yolox-ops: x\.pth must hold tensors and plain values only, .* got posix"):
        main([command, *words.get(command, train)])
    assert sorted(os.listdir(tmp_path)) == ["x.png", "x.pth"]


def test_names_in_a_zip_lead_nowhere(tmp_path, weights):
    path = tmp_path / "deep" / "x.pth"
    path.parent.mkdir()
    for outside in ("../../out", str(tmp_path / "out"), "archive/../../../out"):
        as_zip(path, weights, lambda name, data, outside=outside: [(name, data), (f"{outside}/{name}", data)])
        with contextlib.suppress(ValueError):  # torch refuses some, and may ignore the others
            load_checkpoint(path, small())
        assert os.listdir(tmp_path) == ["deep"] and os.listdir(path.parent) == ["x.pth"]


def test_a_zip_that_unpacks_to_more_than_memory(tmp_path, weights):
    path = tmp_path / "x.pth"
    as_zip(path, weights, lambda name, data: [(name, data)], zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="got unexpected"):  # it was read: anybody may pack a file
        load_checkpoint(path, small())
    as_zip(path, weights, lambda name, data: [(name, data + bytes(10**6))], zipfile.ZIP_DEFLATED)
    with pytest.raises(
        ValueError, match=r"x\.pth must be .*: a zip of \d+ bytes must hold 4 times that at most, got \d"
    ):
        load_checkpoint(path, small())


def test_pipes_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "x.pth")
    for path in (tmp_path / "x.pth", "/dev/zero"):
        with pytest.raises(ValueError, match=f"^{path} must be a whole file of torch.save, .* got a pipe or a device$"):
            load_checkpoint(path, small())


def laughs():
    """A list of few bytes that takes 2^40 words to tell."""
    found = ["ha"]
    for _ in range(40):
        found = [found, found]
    return found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 2**40 * 32}, "up to 8192, got 35184372088832 and 256"),
        ({"width": 8224}, "up to 8192, got 160 and 8224"),
        ({"height": -32}, "up to 8192, got -32 and"),
        ({"height": True}, "up to 8192, got True"),
        ({"height": torch.tensor(64)}, r"up to 8192, got Tensor of shape \[\]"),
        ({"height": laughs()}, "up to 8192, got"),
        ({"class_names": laughs()}, "3 strings, got"),
        ({"class_names": ["x" * 10**7] * 4}, "3 strings, got"),
        ({"class_names": {"cat": 1, "dog": 2, "owl": 3}}, "3 strings, got"),
        ({"model": laughs()}, "one of 'yolox_nano'"),
        ({"model": torch.zeros(3)}, "one of 'yolox_nano'"),
        # One number, of which torch's own text would have 6^20.
        ({"model": torch.zeros(1).expand((7,) * 20)}, r"one of .* got Tensor of shape \[7, 7, "),
        ({"class_names": [torch.zeros(1).expand((7,) * 20)] * 3}, r"3 strings, got \[Tensor of shape"),
        ({"class_names": bytearray(10**8)}, "3 strings, got bytearray of length 100000000"),
    ],
    ids=str(list(range(14))).strip("[]").split(", "),
)
def test_absurd_settings(tmp_path, weights, change, words):
    torch.save({"model": weights, "settings": SETTINGS | change}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=rf"in the settings of \S*/x\.pth must be (pos.* )?{words}") as error:
        open_model(tmp_path / "x.pth")
    assert len(str(error.value)) < 2000


def test_a_claim_of_a_billion_classes(tmp_path):
    """A tensor that repeats one number takes four bytes in a file, whatever its size."""
    torch.save({"head.cls_preds.0.bias": torch.zeros(1).expand(10**9)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth must have 65536 classes at most, got 1000000000"):
        open_model(tmp_path / "x.pth", name="yolox_nano")


def nested(value):
    return torch._nested_tensor_from_tensor_list([torch.zeros(2), torch.zeros(3)])


@pytest.mark.filterwarnings("ignore")  # torch has some of these kinds on probation
@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (CONV, lambda value: value.to("meta"), f"must hold dense tensors of real numbers, got {CONV}"),
        (CONV, lambda value: value.to_sparse(), f"must hold dense tensors of real numbers, got {CONV}"),
        (CONV, lambda value: value.to(torch.complex64), f"must hold dense tensors of real numbers, got {CONV}"),
        (BIAS, nested, f"must hold dense tensors of real numbers, got {BIAS}"),
        (
            BIAS,
            lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
            f"must hold dense tensors of real numbers, got {BIAS}",
        ),
        (CONV, lambda value: value.int(), f"got of another kind {CONV} torch.int32 for torch.float32"),
        (CONV, lambda value: value > 0, f"got of another kind {CONV} torch.bool for torch.float32"),
        (COUNT, lambda value: value.float(), f"got of another kind {COUNT} torch.float32 for torch.int64"),
        (CONV, lambda value: value[..., 0], f"got misshapen {CONV} [64, 3, 3] for [64, 3, 3, 3]"),
        (CONV, lambda value: value[:0], f"got misshapen {CONV} [0, 3, 3, 3] for"),
        (CONV, lambda value: 3.0, "must hold a state dict, alone or under"),
        (7, lambda value: torch.zeros(1), "must hold a state dict, alone or under"),
        ((1, 2), lambda value: torch.zeros(1), "must hold a state dict, alone or under"),
    ],
    ids=[
        "meta",
        "sparse",
        "complex",
        "nested",
        "quantized",
        "int",
        "bool",
        "count-float",
        "flat",
        "empty",
        "number",
        "int-name",
        "tuple-name",
    ],
)
def test_tensors_of_another_kind(tmp_path, name, change, words):
    model = small()
    weights = model.state_dict()
    torch.save({"model": {**weights, name: change(weights.get(name))}}, tmp_path / "x.pth")
    before = model.state_dict()[CONV].clone()
    with pytest.raises(ValueError, match=r"x\.pth must ") as error:
        load_checkpoint(tmp_path / "x.pth", model)
    assert words in str(error.value) and torch.equal(model.state_dict()[CONV], before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_floats_of_any_width(tmp_path, dtype):
    weights = small().state_dict()
    narrow = {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights.items()}
    torch.save(narrow, tmp_path / "x.pth")
    model = small()
    load_checkpoint(tmp_path / "x.pth", model)
    assert torch.equal(model.state_dict()[CONV], narrow[CONV].float())


def test_objects_in_a_checkpoint_are_refused_by_name(tmp_path, weights):
    torch.save({"model": weights, "best_ap": np.float64(0.5)}, tmp_path / "x.pth")
    with pytest.raises(
        ValueError, match=r"got numpy\S*scalar; if you trust it, save its \"model\" alone to a new file"
    ):
        load_checkpoint(tmp_path / "x.pth", small())
