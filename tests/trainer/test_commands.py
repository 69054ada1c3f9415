"""`yolox-ops eval`, `predict` and `export`: from words to files and tables."""

import json
import sys
from pathlib import Path

import cv2
import pytest
import torch
from models import confident
from painted_objects import CLASSES, Painted, annotation

from yolox_ops.cli import main
from yolox_ops.trainer.data.digits import Digits
from yolox_ops.trainer.evaluate import evaluate, predict_records
from yolox_ops.trainer.predict import predict
from yolox_ops.yolox import open_model, yolox_nano


def save(path, class_names, **settings):
    torch.manual_seed(2)
    model = confident(yolox_nano(len(class_names)))
    settings = {"model": "yolox_nano", "class_names": class_names, "height": 64, "width": 96, **settings}
    torch.save({"model": model.state_dict(), "settings": settings}, path)
    return str(path)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return save(tmp_path_factory.mktemp("digits") / "best.pt", list("0123456789"), height=64, width=64)


@pytest.fixture
def painted(tmp_path):
    """A checkpoint whose classes are in another order than the categories' ids, images, and as their ground truth what
    the model finds in 96 x 64 with an IoU threshold of 0.1."""
    data = Painted((48, 64, [(0, 4, 6, 24, 40), (2, 40, 0, 64, 20)]), (60, 20, [(1, 3, 10, 18, 58)]))
    checkpoint = save(tmp_path / "best.pt", list(CLASSES))
    options = {"height": 96, "width": 64, "iou_threshold": 0.1}
    found = predict_records(open_model(checkpoint)[0], data, range(2), **options)["hard"]
    content = data.coco()
    content["annotations"] = [annotation(i, r["image_id"], r["category_id"], r["bbox"]) for i, r in enumerate(found, 1)]
    for i, image in enumerate(content["images"]):
        image["file_name"] = f"{i}.png"
        assert cv2.imwrite(str(tmp_path / f"{i}.png"), data[i].image)
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return checkpoint, tmp_path / "truth.json"


AGNOSTIC = ["--class-agnostic"]


def rows(printed):
    lines = [line.split() for line in printed.splitlines()]
    start = next(i for i, line in enumerate(lines) if line[:1] == ["NMS"])
    assert lines[start] == ["NMS", "AP", "AP50", "AP75", "APs", "APm", "APl", "AR100", "NMS", "ms/image"]
    return {line[0]: line[1:] for line in lines[start + 1 :]}


def shown(value):
    return "-" if value != value else f"{value:.3f}"


def test_eval_of_digits(digits, capsys):
    assert main(["eval", digits, "--data", "digits", "--count", "3"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("digits, val: 3 images of 64 x 64") and "yolox_nano, 64 x 64, 3 images on cpu" in printed
    data, model = Digits("val", images=3, height=64, width=64), open_model(digits)[0]
    expected = evaluate(model, data, height=64, width=64, methods=("hard", "linear", "gaussian"))
    table = rows(printed)
    assert list(table) == list(expected)
    for method, n in expected.items():
        numbers = (n.ap, n.ap50, n.ap75, n.ap_small, n.ap_medium, n.ap_large, n.ar100)
        assert table[method][:-1] == [shown(value) for value in numbers] and 0 < float(table[method][-1]) < 1000


def test_eval_of_a_json_matches_classes_by_name(painted, capsys):
    checkpoint, truth = painted
    words = ["eval", checkpoint, "--data", str(truth), "--size", "96x64", "--nms", "hard", "--batch", "2"]
    assert main([*words, "--iou-threshold", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{truth}: 2 images, ") and "yolox_nano, 96 x 64, 2 images on cpu" in printed
    assert rows(printed)["hard"][:3] == ["1.000"] * 3 and rows(printed)["hard"][6] == "1.000"
    for others in ([], *(["--iou-threshold", "0.1", *w] for w in (["--amp"], ["--score-threshold", "0.9"], AGNOSTIC))):
        assert main([*words, *others]) == 0
        assert 0 < float(rows(capsys.readouterr().out)["hard"][0]) < 1


def test_eval_refuses_bad_records(painted):
    checkpoint, truth = painted
    content = json.loads(truth.read_text())
    content["annotations"][0]["bbox"] = [0, 0, -1, 5]
    truth.write_text(json.dumps(content))
    assert main(["eval", checkpoint, "--data", str(truth)]) == 0
    with pytest.raises(SystemExit, match=r"must hold no bad record .*, got 1"):
        main(["eval", checkpoint, "--data", str(truth), "--on-bad", "refuse"])


def test_predict(painted, capsys, tmp_path):
    checkpoint, truth = painted
    out = tmp_path / "out"
    words = ["--out", str(out), "--score-threshold", "0.6", "--iou-threshold", "0.3", "--nms", "linear"]
    assert main(["predict", checkpoint, str(tmp_path / "?.png"), str(truth), *words]) == 0
    printed = capsys.readouterr().out
    content = json.loads((out / "detections.json").read_text())
    found = content["detections"]
    assert f"passed over: {truth}: the file must be a whole image" in printed
    assert f"{len(found)} detections in 2 images; 1 files were no images" in printed
    assert [category["name"] for category in content["categories"]] == list(CLASSES)
    model, files = open_model(checkpoint)[0], [tmp_path / "0.png", tmp_path / "1.png"]
    options = {"class_names": CLASSES, "height": 64, "width": 96, "score_threshold": 0.6, "iou_threshold": 0.3}
    predict(model, files, tmp_path / "same", method="linear", **options)
    assert json.loads((tmp_path / "same" / "detections.json").read_text()) == content
    assert predict(model, files, tmp_path / "same", method="hard", **options).detections != len(found)
    assert main(["predict", checkpoint, str(tmp_path / "?.png"), *words, *AGNOSTIC]) == 0
    fewer = predict(model, files, tmp_path / "same", method="linear", class_agnostic=True, **options)
    assert fewer.detections < len(found) and f"{fewer.detections} detections in 2 images" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"0_detections.png", "1_detections.png", "detections.json"}


def test_export(digits, capsys, tmp_path, monkeypatch):
    calls = []
    for name in ("export_onnx", "export_program"):
        monkeypatch.setattr(
            f"yolox_ops.trainer.export.{name}",
            lambda *args, name=name, **kw: calls.append((name, *args[1:], kw)) or 2e-6,
        )
    for words in ([], ["--format", "program", "--batch", "3"], ["--size", "32x64", "--batch", "dynamic", "--out", "x"]):
        assert main(["export", digits, *words]) == 0
    beside = Path(digits)
    assert calls == [
        ("export_onnx", beside.with_suffix(".onnx"), 64, 64, {"batch": 1}),
        ("export_program", beside.with_suffix(".pt2"), 64, 64, {"batch": 3}),
        ("export_onnx", Path("x"), 32, 64, {"batch": None}),
    ]
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "images [B, 3, 32, 64] float32, BGR in 0..255",
        "predictions [B, N, 15]: cx, cy, w, h, objectness, classes; before NMS",
        "the file gives what the model gives, but for 2.0e-06",
        "wrote x",
    ]


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        (["compare-assigners"], "matplotlib", "train"),
        (["eval", "x.pt", "--data", "digits"], "pycocotools", "train"),
        (["predict", "x.pt", "x.png"], "cv2", "train"),
        (["export", "{digits}"], "onnxruntime", "export"),
    ],
)
def test_commands_name_their_extra(command, missing, extra, digits, monkeypatch):
    lazy = tuple(f"yolox_ops.trainer.{name}" for name in ("compare.", "evaluate", "predict"))
    for name in list(sys.modules):
        if name == missing or name.startswith((f"{missing}.", *lazy)):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit, match=rf"needs {missing}.*: pip install 'yolox_ops\[{extra}\]'"):
        main([word.format(digits=digits) for word in command])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval", "none.pt", "--data", "digits"], r"yolox-ops: .*No such file or directory: 'none\.pt'"),
        (["eval", "{digits}", "--data", "none.json"], r"yolox-ops: .*none\.json"),
        (["eval", "{digits}", "--data", "digits", "--model", "yolox_s"], "name must be that in the settings of"),
        (["eval", "{digits}", "--data", "digits", "--sigma", "0", "--count", "1"], "sigma must be positive"),
        (
            ["predict", "{digits}", "none.png"],
            "an input must be an image, a folder or a glob with files, got 'none.png'",
        ),
        (["export", "{digits}", "--format", "program", "--out", "x.onnx"], r"path must end in \.pt2, got x\.onnx"),
    ],
)
def test_user_errors_end_with_a_message(words, message, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        main([word.format(digits=digits) for word in words])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval", "x.pt"], "the following arguments are required: --data"),
        (["eval", "x.pt", "--data", "digits", "--nms", "harder"], "argument --nms: invalid choice: 'harder'"),
        (["predict", "x.pt"], "the following arguments are required: INPUT"),
        (
            ["export", "x.pt", "--size", "64x100"],
            "must be SIDE or HEIGHTxWIDTH in positive multiples of 32 up to 8192, got '64x100'",
        ),
        (["export", "x.pt", "--size", "32x32x32"], "got '32x32x32'"),
        (["export", "x.pt", "--batch", "many"], "must be a positive integer, got 'many'"),
        (["export", "x.pt", "--model", "yolo"], "argument --model: invalid choice: 'yolo'"),
    ],
)
def test_wrong_command_lines(words, message, capsys):
    with pytest.raises(SystemExit) as exit:
        main(words)
    assert exit.value.code == 2 and message in capsys.readouterr().err
