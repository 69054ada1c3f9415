"""load_checkpoint and open_model on files such as Megvii's trainer writes, and on this package's own."""

import os

import pytest
import torch

from benchmarks.peers.megvii import megvii_model
from yolox_ops.yolox import Settings, load_checkpoint, open_model, yolox_nano


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


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and no more", b"."])
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    (tmp_path / "other.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.pth must be a whole file of torch\.save, got \w+"):
        load_checkpoint(tmp_path / "other.pth", yolox_nano())


SETTINGS = {"model": "yolox_nano", "class_names": ["cat", "dog", "owl"], "height": 160, "width": 256}


@pytest.mark.parametrize("name", [None, "yolox_nano"])
def test_opens_the_model_of_its_own_file(megvii_file, name):
    path, weights = megvii_file
    torch.save({"model": weights, "settings": SETTINGS, "epoch": 3}, path)
    model, settings = open_model(path, name=name)
    assert settings == Settings("yolox_nano", ("cat", "dog", "owl"), 160, 256, named=True)
    assert equal(model.state_dict(), weights) and not model.training


@pytest.mark.parametrize("bare", [False, True])
def test_opens_megviis_model_by_its_name(megvii_file, bare):
    path, weights = megvii_file
    if bare:
        torch.save(weights, path)
    model, settings = open_model(path, name="yolox_nano")
    assert settings == Settings("yolox_nano", ("0", "1", "2"), 416, 416, named=False)
    assert equal(model.state_dict(), weights) and not model.training


def test_a_model_must_be_named(megvii_file):
    path, weights = megvii_file
    with pytest.raises(ValueError, match=r"which has no settings, must be named: one of yolox_nano, "):
        open_model(path)
    with pytest.raises(ValueError, match=r"^name must be one of 'yolox_nano', .*, got 'yolo'"):
        open_model(path, name="yolo")
    with pytest.raises(ValueError, match=r"must have the names and shapes of the model"):
        open_model(path, name="yolox_tiny")
    torch.save({"model": weights, "settings": SETTINGS}, path)
    with pytest.raises(ValueError, match=r"name must be that in the settings of .*, 'yolox_nano', got 'yolox_s'"):
        open_model(path, name="yolox_s")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "must be a dict with model, class_names, height and width, got list"),
        ({"model": "yolox_nano", "height": 32}, "got class_names, width missing"),
        ({**SETTINGS, "model": "yolo"}, "must be one of 'yolox_nano', .*, got 'yolo'"),
        ({**SETTINGS, "class_names": ["cat", "dog"]}, r"must be 3 strings, got \['cat', 'dog'\]"),
        ({**SETTINGS, "class_names": ["cat", "dog", 3]}, "must be 3 strings"),
        ({**SETTINGS, "class_names": "cat"}, "must be 3 strings, got 'cat'"),
        ({**SETTINGS, "height": 100}, "must be positive multiples of 32 up to 8192, got 100 and 256"),
        ({**SETTINGS, "width": 64.0}, r"must be positive multiples of 32 up to 8192, got 160 and 64\.0"),
        ({**SETTINGS, "width": 0}, "got 160 and 0"),
    ],
)
def test_wrong_settings_are_refused(megvii_file, settings, words):
    path, weights = megvii_file
    torch.save({"model": weights, "settings": settings}, path)
    with pytest.raises(ValueError, match=rf"settings of .*latest_ckpt\.pth .*{words}"):
        open_model(path)


@pytest.mark.parametrize(
    ("state", "facts"),
    [({}, "nothing"), ({"a": torch.zeros(1)}, "a"), ({"head.cls_preds.0.bias": torch.tensor(1)}, "head")],
)
def test_a_state_dict_of_something_else(tmp_path, state, facts):
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"must hold head\.cls_preds\.0\.bias \[C\] of a YOLOX, got {facts}"):
        open_model(tmp_path / "other.pth", name="yolox_nano")
