"""Exported files give what the model gives, and so does the example that runs one without torch."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from unittest import TestCase

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from models import check_near, confident
from rectangles import drawn
from torch import nn

from yolox_ops.trainer.export import export_onnx, export_program
from yolox_ops.trainer.predict import predict
from yolox_ops.yolox import yolox_nano

on_one_worker = pytest.mark.xdist_group("onnx")  # the export takes seconds
EXAMPLE = Path(__file__).parents[2] / "examples/onnx_soft_nms.py"


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
    check_near(exported(images).unbind(-1), expected.unbind(-1))


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "new" / "model.onnx"
    with TestCase().assertNoLogs("torch.onnx", "WARNING"):  # of a torchvision that is not there
        difference = export_onnx(model, path, 64, 96, batch=None)
    assert 0 < difference < 1e-4
    return path


@on_one_worker
def test_onnx(model, onnx_file):
    assert os.listdir(onnx_file.parent) == ["model.onnx"]
    onnx.checker.check_model(onnx_file, full_check=True)
    exported, images, predictions = from_onnx(onnx_file)
    assert images == ["batch", 3, 64, 96] and predictions == ["batch", 126, 8]
    for batch in (1, 2, 5):
        check(model, exported, batch, 3, 64, 96)


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


def example(*words):
    """The example in a process that must not load torch."""
    code = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
assert "torch" not in sys.modules and "libtorch" not in open("/proc/self/maps").read()
"""
    run = [sys.executable, "-W", "error", "-c", code, str(EXAMPLE), *map(str, words)]
    return subprocess.run(run, capture_output=True, text=True, timeout=120)


@on_one_worker
@pytest.mark.parametrize(("height", "width"), [(150, 120), (40, 90)])
def test_the_example_finds_what_the_model_finds(model, onnx_file, height, width, tmp_path):
    picture, drawing = tmp_path / "picture.png", tmp_path / "drawing.png"
    sample = drawn([[10, 5, 40, 30], [50, 8, 85, 38]], [0, 1], height, width)
    cv2.imwrite(str(picture), sample.image)
    run = example(onnx_file, picture, "--out", drawing, "--score", "0.2")
    assert run.returncode == 0, run.stderr
    found = np.array([[float(word) for word in line.split()] for line in run.stdout.splitlines()])
    options = {"method": "gaussian", "iou_threshold": 0.3, "score_threshold": 0.2}
    predict(model, [picture], tmp_path, class_names="abc", height=64, width=96, **options)
    records = json.loads((tmp_path / "detections.json").read_text())["detections"]
    expected = np.array([[r["category_id"], r["score"], *r["bbox"]] for r in records])
    expected[:, 4:] += expected[:, 2:4]
    assert len(found) >= 5
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=0.02)
    assert cv2.imread(str(drawing)).shape == (height, width, 3) and (cv2.imread(str(drawing)) != sample.image).any()


@on_one_worker
def test_the_example_refuses_what_is_no_image(onnx_file):
    run = example(onnx_file, onnx_file)
    assert run.returncode == 1 and run.stderr.endswith(f"image must be one that OpenCV reads, got {onnx_file}\n")
