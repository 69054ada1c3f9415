"""What a user does with a data set of his own: train on files, from another model's weights, evaluate, predict."""

import json

import cv2
import pytest
import torch

from yolox_ops.cli import main
from yolox_ops.trainer.data.digits import Digits
from yolox_ops.yolox import yolox_nano


def write(folder, data):
    """The data set as files: COCO's JSON, and its images beside it."""
    folder.mkdir()
    truth = data.coco()
    for image in truth["images"]:
        cv2.imwrite(str(folder / image["file_name"]), data[image["id"]].image)
    (folder / "data.json").write_text(json.dumps(truth))
    return folder / "data.json", truth


@pytest.fixture
def files(tmp_path):
    train, truth = write(tmp_path / "train", Digits("train", images=8, height=64, width=96))
    truth["annotations"][1]["bbox"][2] = 0
    train.write_text(json.dumps(truth))
    val, _ = write(tmp_path / "val", Digits("val", images=4, height=64, width=96))
    torch.save({"model": yolox_nano(80).state_dict(), "start_epoch": 3}, tmp_path / "coco.pth")
    return train, val, tmp_path / "coco.pth", tmp_path / "run"


WORDS = ("--model", "yolox_nano", "--size", "64x96", "--epochs", "1", "--batch", "4", "--workers", "0", "--no-progress")


def test_from_files_to_detections(files, capsys):
    train, val, weights, run = files
    images = val.parent
    val = val.rename(images.parent / "elsewhere.json")
    given = ("--data", str(train), "--val-data", str(val), "--val-images", str(images))
    given = (*given, "--weights", str(weights), "--out", str(run))
    assert main(["train", *WORDS, *given]) == 0
    said = capsys.readouterr().out
    assert "8 images" in said
    assert "skipped 1 annotation: 1 with a box of zero size, such as annotations[1] (id 2)" in said
    assert "is of other classes: head.cls_preds.0.weight" in said and "wrote" in said and (run / "curves.png").exists()

    assert main(["eval", str(run / "best.pt"), "--data", str(val), "--images", str(images)]) == 0
    said = capsys.readouterr().out
    assert "yolox_nano, 64 x 96, 4 images on cpu" in said
    assert [line.split()[0] for line in said.splitlines()[-3:]] == ["hard", "linear", "gaussian"]

    out = run / "found"
    words = ("--score-threshold", "0.00001", "--out", str(out))
    assert main(["predict", str(run / "best.pt"), str(images / "*.png"), *words]) == 0
    found = json.loads((out / "detections.json").read_text())
    assert len(found["images"]) == len(list(out.glob("*.png"))) == 4 and found["detections"]
    assert [one["name"] for one in found["categories"]] == list("0123456789")


def test_bad_records_can_be_refused(files):
    train, val, _, run = files
    given = ("--data", str(train), "--val-data", str(val), "--on-bad", "refuse", "--out", str(run))
    with pytest.raises(SystemExit, match=r"must hold no bad record .* got 1:\n.*annotations\[1\] \(id 2\)"):
        main(["train", *WORDS, *given])
    assert not run.exists()


def test_validation_must_have_the_classes(files):
    """Objects of a class that training does not know are counted, or refused."""
    train, val, _, run = files
    content = json.loads(train.read_text())
    del content["annotations"][1]  # the one without a size
    train.write_text(json.dumps(content))
    content = json.loads(val.read_text())
    content["categories"][3]["name"] = "trois"
    strange = sum(one["category_id"] == 3 for one in content["annotations"])
    assert strange
    val.write_text(json.dumps(content))
    given = ("--data", str(train), "--val-data", str(val), "--on-bad", "refuse", "--out", str(run))
    words = rf"{val} must hold no bad record .* got {strange}:\n.*of a name in class_names"
    with pytest.raises(SystemExit, match=words):
        main(["train", *WORDS, *given])


def test_a_run_is_not_overwritten(files):
    train, val, _, run = files
    run.mkdir()
    (run / "last.pt").touch()
    with pytest.raises(SystemExit, match=f"{run} holds a run: --resume {run} goes on with it"):
        main(["train", *WORDS, "--data", str(train), "--val-data", str(val), "--out", str(run)])
