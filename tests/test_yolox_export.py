"""Exported files give what the model gives."""

import math
import os

import onnx
import onnxruntime
import pytest
import torch
from models import confident
from torch import nn

from yolox_ops.yolox import yolox_nano
from yolox_ops.yolox.export import export_onnx, export_program


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    return confident(yolox_nano(3))


class Small(nn.Module):
    """Something with a decode, for what does not depend on the model."""

    def __init__(self, drift=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.drift, self.calls = drift, 0
        self.eval()

    def decode(self, images):
        self.calls += 1
        return images.flatten(1) * self.weight + self.drift * self.calls


def from_onnx(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (images,), (predictions,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, predictions.name) == ("images", "tensor(float)", "predictions")
    return lambda x: torch.from_numpy(session.run(None, {"images": x.numpy()})[0]), images.shape, predictions.shape


@torch.no_grad()
def check(model, exported, *shape):
    images = torch.randint(0, 256, shape).float()
    expected = model.decode(images)
    assert expected[..., 4:].std() > 0.1 and expected.isfinite().all()
    torch.testing.assert_close(exported(images), expected, rtol=1e-4, atol=1e-4)


def test_onnx(model, tmp_path, caplog):
    path = tmp_path / "new" / "model.onnx"
    difference = export_onnx(model, path, 64, 96, batch=None)
    assert 0 < difference < 1e-4 and os.listdir(path.parent) == ["model.onnx"]
    onnx.checker.check_model(path, full_check=True)
    exported, images, predictions = from_onnx(path)
    assert images == ["batch", 3, 64, 96] and predictions == ["batch", 126, 8]
    for batch in (1, 2, 5):
        check(model, exported, batch, 3, 64, 96)
    assert "torchvision" not in caplog.text


def test_program(model, tmp_path):
    difference = export_program(model, tmp_path / "model.pt2", 64, 64, batch=None)
    assert 0 <= difference < 1e-4
    exported = torch.export.load(tmp_path / "model.pt2").module()
    for batch in (1, 2, 5):
        check(model, exported, batch, 3, 64, 64)


def test_files_of_one_batch(tmp_path):
    images = torch.randn(3, 3, 4, 8)
    assert export_onnx(Small(), tmp_path / "model.onnx", 4, 8, batch=3) == 0
    exported, shape, _ = from_onnx(tmp_path / "model.onnx")
    assert shape == [3, 3, 4, 8] and torch.equal(exported(images), images.flatten(1))
    assert export_program(Small(), tmp_path / "model.pt2", 4, 8, batch=3) == 0
    exported = torch.export.load(tmp_path / "model.pt2").module()
    assert torch.equal(exported(images), images.flatten(1))
    with pytest.raises(AssertionError, match=r"Guard failed.* == 3"):
        exported(images[:2])


@pytest.mark.parametrize("exporter", [export_onnx, export_program])
@pytest.mark.parametrize("drift", [10.0, math.nan])
def test_a_file_that_gives_something_else_is_not_written(exporter, drift, tmp_path):
    path = tmp_path / "model.pt2"
    path.write_text("before")
    with pytest.raises(RuntimeError, match=r"gives, within 0\.001, got a difference of .* on images \[1, 3, 4, 8\]"):
        exporter(Small(drift), path, 4, 8)
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["model.pt2"]


@pytest.mark.parametrize("exporter", [export_onnx, export_program])
def test_wrong_arguments(model, exporter, tmp_path):
    path = tmp_path / "model.pt2"
    with pytest.raises(ValueError, match="model must be in eval mode, got training mode"):
        exporter(yolox_nano(3), path, 64, 64)
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        exporter(model, path, 64, 64, batch=0)
    with pytest.raises(ValueError, match=r"multiples of 32, got \[1, 3, 64, 100\]"):
        exporter(model, path, 64, 100)
    assert os.listdir(tmp_path) == []


def test_a_program_is_named_pt2(model, tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.pt2, got .*model\.onnx"):
        export_program(model, tmp_path / "model.onnx", 64, 64)
