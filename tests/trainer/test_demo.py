import subprocess
import sys

import numpy as np
import pytest
import torch
from matching import check_golden
from matplotlib.image import imread
from scenes import golden_scene

from yolox_ops import Assignment, simota, simota_cost
from yolox_ops.cli import main
from yolox_ops.trainer.data import Sample, collate
from yolox_ops.trainer.data.digits import Digits
from yolox_ops.trainer.demo.assign import compare, show_assignment
from yolox_ops.trainer.demo.loop import dynamic_k, match, simota_loop
from yolox_ops.yolox import Predictions, anchor_grid


def half_trained(batch, seed):
    """Predictions of the objects' own class and box, the better the nearer their anchor, and all that an assigner takes
    in the order of its arguments."""
    generator = torch.Generator().manual_seed(seed)
    anchor_points, strides = anchor_grid(*batch.images.shape[2:])
    gt_boxes, gt_labels, num_gts = batch.targets
    noise = torch.randn(len(gt_boxes), len(strides), 14, generator=generator)
    pred_boxes = torch.cat([anchor_points.expand(len(gt_boxes), -1, 2), (noise[..., :2] / 2 + 3).exp()], -1)
    cls_logits, obj_logits = noise[..., 2:12] - 4, noise[..., 12] - 4
    for b, count in enumerate(num_gts.tolist()):
        for box, label in zip(gt_boxes[b, :count], gt_labels[b, :count].tolist(), strict=True):
            near = ((anchor_points - box[:2]).abs() < box[2:] / 2).all(1)
            pred_boxes[b, near] = box * (1 + 0.1 * noise[b, near, :4])
            cls_logits[b, near, label] += 6
            obj_logits[b, near] += 6
    return Predictions(pred_boxes, cls_logits, obj_logits, pred_boxes, anchor_points, strides)


def inputs_of(batch, p):
    return p.pred_boxes, p.cls_logits, p.obj_logits, p.anchor_points, p.strides, *batch.targets


def digits(seed, count=4):
    data = Digits("train", images=count, seed=seed)
    return collate([data[i] for i in range(count)])


def crowded(seed):
    """Each digit once more, a fifth of its width to the right."""
    data = Digits("train", images=4, seed=seed)
    samples = []
    for image, boxes, labels in map(data.__getitem__, range(4)):
        aside = boxes + np.float32(0.2) * (boxes[:, 2:3] - boxes[:, :1]) * np.array([1, 0, 1, 0], np.float32)
        samples.append(Sample(image, np.concatenate([boxes, aside]), np.tile(labels, 2)))
    return collate(samples)


def test_loop_equals_the_op_and_digits_compete():
    claimed = positive = 0
    for seed in range(5):
        batch = crowded(seed)
        inputs = inputs_of(batch, half_trained(batch, seed))
        result = simota(*inputs)
        compare(result, simota_loop(*inputs))
        k = dynamic_k(simota_cost(*inputs).iou)  # [B, G]
        claimed += int(k[torch.arange(k.shape[1]) < batch.targets.num_gts[:, None]].sum())
        positive += int(result.num_fg.sum())
    assert claimed > positive > 100


def test_loop_matches_golden_conflicts():
    # Megvii's simota_matching on a 3 x 5 matrix; anchors 1 and 2 are conflicts.
    cost = torch.tensor([[1, 2, 3, 9, 9], [2.5, 1.5, 0.5, 4, 9], [7, 8, 0.25, 0.75, 2]])
    iou = torch.tensor([[0.9, 0.8, 0.4, 0, 0], [0.5, 0.6, 0.7, 0.3, 0], [0, 0.1, 0.9, 0.8, 0.6]])
    matched_gt, matched_iou = match(cost, iou)
    assert dynamic_k(iou).tolist() == [2, 2, 2]
    assert matched_gt.tolist() == [0, 1, 2, 2, -1]
    torch.testing.assert_close(matched_iou, torch.tensor([0.9, 0.6, 0.9, 0.8, 0]))


def test_loop_matches_the_golden_assignment():
    check_golden(simota_loop(*golden_scene()))


def test_loop_on_nothing_to_assign():
    *predictions, gts, labels, _ = golden_scene()
    for result in (
        simota_loop(*predictions, gts[:, :0], labels[:, :0]),
        simota_loop(*predictions, gts, labels, torch.tensor([0])),
        simota_loop(*predictions, gts - 1000, labels),
    ):
        assert (result.matched_gt == -1).all() and (result.matched_iou == 0).all() and result.num_fg.tolist() == [0]


def test_disagreement_ends_the_program():
    gt = torch.zeros(1, 2000, dtype=torch.long)
    right = Assignment(gt, torch.ones(1, 2000), torch.tensor([2000]))
    assert compare(right, right).endswith("0 of 2000 positives differ")
    for different, accepted in ((2, True), (3, False)):
        wrong = right._replace(matched_gt=gt - (torch.arange(2000) < different).long())
        if accepted:
            assert f"{different} of 2000" in compare(wrong, right)
        else:
            with pytest.raises(SystemExit, match="disagree: 3 of 2000 positives differ"):
                compare(wrong, right)


def test_assignment_as_table_and_picture(tmp_path, capsys):
    batch = digits(0, 3)  # the second is empty
    show_assignment(batch, half_trained(batch, 0), tmp_path / "new" / "assign.png")
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].split()[:5] == ["image", "gt", "label", "box", "region"]
    rows = lines[1 : lines.index("") - 1]
    assert len(rows) == batch.targets.num_gts.sum() >= 5 and len({len(row) for row in rows}) == 1
    assert "image 1: no ground truths, all 525 anchors are background" in lines
    assert "simota and the plain torch loop agree: 0 of" in printed and "times as long" in printed
    picture = imread(tmp_path / "new" / "assign.png")
    assert picture.shape == (1347, 1936, 4) and picture.std() > 0.1


def test_assignment_of_images_without_objects(tmp_path, capsys):
    batch = collate([Digits("train", images=2)[1]])
    show_assignment(batch, half_trained(batch, 0), tmp_path / "assign.png")
    assert "image 0: no ground truths" in capsys.readouterr().out


def test_demo(tmp_path, capsys):
    words = ("--epochs", "2", "--count", "16", "--val-count", "6")
    assert main(["demo", "--out", str(tmp_path), *words]) == 0
    printed = capsys.readouterr().out
    assert "6 images with scans that training never saw:" in printed and "gaussian NMS  AP 0." in printed
    assert "a step of 8 images takes" in printed and "in simota" in printed
    pictures = {name: imread(tmp_path / name) for name in ("assign.png", "detections.png", "curves.png")}
    assert pictures["detections.png"].shape == (2 * 488, 4 * 488, 3)
    assert all(picture.std() > 0.1 for picture in pictures.values())
    assert {"best.pt", "last.pt", "steps.csv", "epochs.csv"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("missing", ["cv2", "matplotlib", "pycocotools", "sklearn", "tqdm"])
def test_demo_names_its_extra(missing):
    """In a process of its own, for what is imported once stays."""
    code = f"import sys; sys.modules['{missing}'] = None; from yolox_ops.cli import main; main(['demo'])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == f"the demo needs {missing}: pip install 'yolox_ops[train]'\n"


def test_info(capsys):
    assert main(["info"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()][:3] == ["yolox_ops", "python", "torch"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["demo", "fly"], "unrecognized arguments: fly"),
        (["demo", "--epochs", "-1"], "must be a positive integer, got '-1'"),
        (["demo", "--device", "toaster"], "argument --device: must be cpu or cuda, got 'toaster'"),
    ],
)
def test_wrong_arguments(argv, words, capsys):
    with pytest.raises(SystemExit) as exit:
        main(argv)
    error = capsys.readouterr().err
    assert exit.value.code == 2 and error.startswith("usage: yolox-ops") and words in error


def test_python_m():
    help_text = subprocess.run(
        [sys.executable, "-m", "yolox_ops", "--help"], capture_output=True, text=True, check=True
    )
    assert help_text.stdout.startswith("usage: yolox-ops") and "demo" in help_text.stdout
