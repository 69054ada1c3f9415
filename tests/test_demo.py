import subprocess
import sys

import pytest
import torch
from matching import check_golden
from matplotlib.image import imread
from scenes import golden_scene

from yolox_ops import Assignment, simota, simota_cost
from yolox_ops.cli import main
from yolox_ops.demo import scene
from yolox_ops.demo.assign import compare, spread
from yolox_ops.demo.loop import dynamic_k, match, simota_loop
from yolox_ops.yolox import anchor_grid


def draw(seed, batch=3, size=192):
    """A scene and everything that an assigner takes, in the order of its arguments."""
    generator = torch.Generator().manual_seed(seed)
    drawn = scene.make_scene(batch, size, generator)
    anchor_points, strides = anchor_grid(size, size)
    predictions = scene.half_trained(drawn, anchor_points, strides, generator)
    return drawn, (*predictions, anchor_points, strides, *drawn[1:])


def test_scene_is_reproducible():
    (first, inputs), (again, same_inputs), (other, _) = draw(1), draw(1), draw(2)
    torch.testing.assert_close((*first, *inputs), (*again, *same_inputs), rtol=0, atol=0)
    assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize("seed", range(5))
def test_boxes_lie_on_the_canvas(seed):
    drawn, _ = draw(seed)
    assert drawn.images.shape == (3, 3, 192, 192) and drawn.images.dtype == torch.uint8
    assert drawn.num_gts[-1] == 0 and (drawn.num_gts[:-1] >= 6).all()
    for boxes, count in zip(drawn.gt_boxes, drawn.num_gts.tolist(), strict=True):
        low, high = boxes[:count, :2] - boxes[:count, 2:] / 2, boxes[:count, :2] + boxes[:count, 2:] / 2
        assert (low >= 0).all() and (high <= 192).all() and (low < high).all()
        assert (boxes[count:] == 0).all()


@pytest.mark.parametrize(("left", "top"), [(20, 30), (-15, 5), (80, 85)])
@pytest.mark.parametrize("background", [0.2, 0.8])
def test_boxes_are_tight_on_ink(left, top, background):
    scan = torch.zeros(8, 8)
    scan[1:7, 2:5] = 1
    image = torch.full((3, 120, 120), background)
    box = scene.paste(image, scan, left, top, 48)
    ink = (image[0] - background).abs() > 0.05
    rows, columns = ink.any(1).nonzero(), ink.any(0).nonzero()
    low = torch.cat([columns[0], rows[0]])
    high = torch.cat([columns[-1], rows[-1]]) + 1
    torch.testing.assert_close(box, torch.cat([(low + high) / 2, (high - low).float()]))


def test_loop_equals_the_op_and_digits_compete():
    claimed = positive = 0
    for seed in range(5):
        drawn, inputs = draw(seed, size=256)
        result = simota(*inputs)
        compare(result, simota_loop(*inputs))
        k = dynamic_k(simota_cost(*inputs).iou)  # [B, G]
        claimed += int(k[torch.arange(k.shape[1]) < drawn.num_gts[:, None]].sum())
        positive += int(result.num_fg.sum())
    assert claimed > positive


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


def test_labels_keep_apart():
    levels = spread([5.0, 6.0, 50.0, 99.0, 99.0], gap=10, low=10, high=90)
    assert levels == [10, 20, 50, 80, 90]


def test_demo_assign(tmp_path, capsys):
    assert main(["demo", "assign", "--out", str(tmp_path / "new"), "--images", "3", "--size", "128"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].split()[:5] == ["image", "object", "digit", "box", "k"]
    rows = lines[1 : lines.index("") - 1]
    assert len(rows) >= 12 and len({len(row) for row in rows}) == 1
    assert "image 2: no objects, all 336 anchors are background" in lines
    assert "simota and the plain torch loop agree: 0 of" in printed and "times as long" in printed
    picture = imread(tmp_path / "new" / "assign.png")
    assert picture.shape == (1336, 1936, 4) and picture.std() > 0.1


@pytest.mark.parametrize("missing", ["matplotlib", "sklearn"])
def test_demo_names_its_extra(missing, monkeypatch):
    for name in list(sys.modules):
        if name.startswith((f"{missing}.", "yolox_ops.demo.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit, match=rf"needs {missing}.*: pip install '\.\[train\]'"):
        main(["demo", "assign"])


def test_info(capsys):
    assert main(["info"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()][:3] == ["yolox_ops", "python", "torch"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["demo", "fly"], "invalid choice: 'fly'"),
        (["demo", "assign", "--size", "100"], "must be a multiple of 32, 128 or more, got 100"),
        (["demo", "assign", "--images", "-1"], "must be a positive integer, got '-1'"),
        (["demo", "assign", "--device", "toaster"], "argument --device: Expected one of cpu, cuda"),
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
