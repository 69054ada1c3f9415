"""The two examples that make a detector run without Python."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from models import confident
from torch.nn.functional import interpolate

import yolox_ops
from yolox_ops.yolox import yolox_nano

ROOT = Path(__file__).parents[2]
TORCH = Path(torch.__file__).parent
HEIGHT, WIDTH, THRESHOLD = 64, 96, 0.3
pytestmark = pytest.mark.xdist_group("libtorch")  # one worker compiles the package, for all of them


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    return confident(yolox_nano(3))


@pytest.fixture(scope="module")
def package(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    names = [f"class {i}" for i in range(3)]
    settings = {"model": "yolox_nano", "class_names": names, "height": HEIGHT, "width": WIDTH}
    torch.save({"model": model.state_dict(), "settings": settings}, folder / "best.pt")
    made = folder / "detector.pt2"
    run(sys.executable, "examples/package_detector.py", folder / "best.pt", made, "--score-threshold", THRESHOLD)
    return made


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    made = tmp_path_factory.mktemp("program") / "detect"
    lib = TORCH / "lib"
    libraries = [f"-L{lib}", f"-Wl,-rpath,{lib}", "-ltorch", "-ltorch_cpu", "-lc10"]
    run("g++", "-std=c++20", f"-I{TORCH}/include", "examples/detect.cpp", "-o", made, *libraries)
    return made


@pytest.mark.parametrize("size", [(50, 80), (128, 61)])
def test_a_program_without_python_finds_what_the_model_finds(model, package, program, size, tmp_path):
    picture = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "picture.ppm"), picture)
    library = Path(yolox_ops.__file__).parent / "_C.so"
    lines = run(program, library, package, tmp_path / "picture.ppm").splitlines()
    found = torch.tensor([[float(number) for number in line.split()] for line in lines])

    ratio = min(HEIGHT / size[0], WIDTH / size[1])
    scaled = int(size[0] * ratio), int(size[1] * ratio)
    canvas = torch.full((1, 3, HEIGHT, WIDTH), 114.0)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    canvas[..., : scaled[0], : scaled[1]] = interpolate(image, scaled, mode="bilinear")
    with torch.no_grad():
        ((boxes, scores, labels),) = model(canvas, score_threshold=THRESHOLD).unpadded()
    wanted = torch.cat([labels[:, None], scores[:, None], boxes / ratio], 1)
    assert len(found) > 5
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=0.02)


def test_what_is_no_picture_is_named(package, program, tmp_path):
    (tmp_path / "short.ppm").write_bytes(b"P6\n8 8\n255\nabc")
    library = Path(yolox_ops.__file__).parent / "_C.so"
    for name, words in (("short.ppm", "must hold 8 x 8 pixels"), ("nothing.ppm", "must be a binary PPM")):
        done = subprocess.run([program, library, package, tmp_path / name], capture_output=True, text=True)
        assert done.returncode and f"{name} {words}" in done.stderr
