"""load_checkpoint on files such as Megvii's trainer writes."""

import os

import pytest
import torch

from benchmarks.peers import megvii_model
from yolox_ops.yolox import load_checkpoint, yolox_nano


@pytest.fixture
def megvii_file(tmp_path):
    """A file as Megvii's trainer writes it, for 3 classes, and its weights."""
    peer = megvii_model("yolox_nano", 3)
    optimizer = torch.optim.SGD(peer.parameters(), lr=0.1).state_dict()
    path = tmp_path / "latest_ckpt.pth"
    torch.save({"start_epoch": 7, "model": peer.state_dict(), "optimizer": optimizer, "best_ap": 0.25}, path)
    return path, peer.state_dict()


def equal(state, other, without=()):
    return all(torch.equal(state[name], other[name]) for name in state if name not in without)


@pytest.mark.parametrize("replace_classes", [False, True])
def test_loads_megviis_file(megvii_file, replace_classes):
    path, weights = megvii_file
    model = yolox_nano(3)
    assert load_checkpoint(path, model, replace_classes=replace_classes) == []
    assert equal(model.state_dict(), weights)


def test_loads_a_bare_state_dict(megvii_file):
    path, weights = megvii_file
    torch.save(weights, path)
    model = yolox_nano(3)
    load_checkpoint(str(path), model)
    assert equal(model.state_dict(), weights)


def test_replaces_the_classes_and_nothing_else(megvii_file):
    path, weights = megvii_file
    model = yolox_nano(5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    left = load_checkpoint(path, model, replace_classes=True)
    assert left == [f"head.cls_preds.{level}.{kind}" for level in range(3) for kind in ("weight", "bias")]
    assert equal(model.state_dict(), weights, without=left)
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in left)


def drop(state):
    del state["backbone.C3_p3.conv1.conv.weight"], state["head.stems.2.bn.bias"]


def add(state):
    state.update({f"head.angle_preds.{level}.bias": torch.zeros(1) for level in range(5)})


def reshape(state):
    state["head.obj_preds.1.weight"] = torch.zeros(2, 64, 1, 1)


def widen_classes(state):
    for level in range(3):
        state[f"head.cls_preds.{level}.weight"] = torch.zeros(4, 96, 1, 1)


def rename(state):
    state["head.angle_preds.0.bias"] = state.pop("head.obj_preds.0.bias")


@pytest.mark.parametrize("replace_classes", [False, True])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop, r"got missing backbone\.C3_p3\.conv1\.conv\.weight, head\.stems\.2\.bn\.bias$"),
        (add, r"got unexpected head\.angle_preds\.0\.bias, .*\.1\.bias, .*\.2\.bias and 2 more$"),
        (reshape, r"got misshapen head\.obj_preds\.1\.weight \[2, 64, 1, 1\] for \[1, 64, 1, 1\]$"),
        (widen_classes, r"got misshapen head\.cls_preds\.0\.weight \[4, 96, 1, 1\] for \[3, 64, 1, 1\], "),
        (rename, r"got missing head\.obj_preds\.0\.bias; unexpected head\.angle_preds\.0\.bias$"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_does_not_fit_changes_nothing(megvii_file, change, words, replace_classes):
    path, weights = megvii_file
    change(weights)
    torch.save({"model": weights}, path)
    model = yolox_nano(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"latest_ckpt\.pth must have the names and shapes of the model, " + words):
        load_checkpoint(path, model, replace_classes=replace_classes)
    assert equal(model.state_dict(), before)


def test_other_classes_must_be_asked_for(megvii_file):
    with pytest.raises(
        ValueError, match=r"got misshapen head\.cls_preds\.0\.weight \[3, 64, 1, 1\] for \[5, 64, 1, 1\]"
    ):
        load_checkpoint(megvii_file[0], yolox_nano(5))


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_file_does_not_run(megvii_file, tmp_path):
    path, weights = megvii_file
    torch.save({"model": weights, "extra": Code(str(tmp_path / "ran"))}, path)
    with pytest.raises(ValueError, match=r"must hold tensors and plain values only, .*weights_only=True") as error:
        load_checkpoint(path, yolox_nano(3))
    assert "mkdir" in str(error.value) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "got list"),
        ({"weights": {}, "epoch": 3}, "got a dict with 'weights', 'epoch'"),
        ({"model": [1]}, "got a dict with 'model'"),
    ],
)
def test_a_file_without_a_state_dict(tmp_path, content, words):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf'must hold a state dict, alone or under "model", {words}'):
        load_checkpoint(tmp_path / "other.pth", yolox_nano())


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        load_checkpoint(tmp_path / "none.pth", yolox_nano())
