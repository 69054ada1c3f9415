"""The assigners by name: YOLOX's single centre and 3 x 3, held against loops over images, objects and cells."""

import math

import pytest
import torch
from impls import check_compiles, strided
from scenes import random_gts, random_scene, take_image

import yolox_ops
from yolox_ops import Scene, yolox_loss
from yolox_ops.trainer.compare.plot import STYLES
from yolox_ops.yolox import anchor_grid
from yolox_ops.yolox.assigners import ASSIGNERS, center, multi_positive

RULES = pytest.mark.parametrize(("assign", "reach"), [(center, 0), (multi_positive, 1)], ids=["center", "multi"])


def expected(scene, reach):
    """matched_gt as lists [B][N], by numbered cells and ranges of numbers."""
    strides = scene.strides.double().tolist()
    cells = {
        (s, x // s, y // s): n for n, (s, (x, y)) in enumerate(zip(strides, scene.anchor_points.tolist(), strict=True))
    }
    levels = sorted(set(strides))
    images = []
    for b in range(len(scene.gt_boxes)):
        *_, gts, labels = take_image(scene, b)
        matched, owner = [-1] * len(strides), {}
        for g, (cx, cy, w, h) in enumerate(gts):
            if not all(map(math.isfinite, gts[g])) or not 0 <= labels[g] < scene.cls_logits.shape[-1]:
                continue
            farthest, area = max(w, h) / 2, max(w, 0) * max(h, 0)
            fitting = [
                s for s in levels if (s == levels[0] or farthest > 4 * s) and (s == levels[-1] or farthest <= 8 * s)
            ]
            (s,) = fitting
            for dx in range(-reach, reach + 1):
                for dy in range(-reach, reach + 1):
                    n = cells.get((s, cx // s + dx, cy // s + dy))
                    if n is not None and (n not in owner or area < owner[n]):
                        matched[n], owner[n] = g, area
        images.append(matched)
    return images


def overlap(a, b):
    """IoU of two boxes cxcywh."""
    sides = [
        min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2) - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2) for i in (0, 1)
    ]
    shared = max(sides[0], 0) * max(sides[1], 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def check(scene, assign, reach):
    """The assignment, which is as the loops have it."""
    found = assign(*scene)
    matched = expected(scene, reach)
    assert found.matched_gt.tolist() == matched
    assert found.num_fg.tolist() == [sum(g >= 0 for g in image) for image in matched]
    for b, image in enumerate(matched):
        pairs = zip(scene.pred_boxes[b].tolist(), image, strict=True)
        ious = [0.0 if g < 0 else overlap(box, scene.gt_boxes[b, g].tolist()) for box, g in pairs]
        torch.testing.assert_close(found.matched_iou[b], torch.tensor(ious))
    assert found.matched_gt.dtype == found.num_fg.dtype == torch.int64 and found.matched_iou.dtype == torch.float32
    return found


def one_gt(*boxes, size=256, labels=None):
    """A scene of one image with these ground truths."""
    points, strides = anchor_grid(size, size)
    pred_boxes = torch.cat([points, 3 * strides[:, None].expand(-1, 2)], -1)[None]
    labels = torch.tensor([labels or [0] * len(boxes)])
    n = len(strides)
    return Scene(
        pred_boxes, torch.zeros(1, n, 3), torch.zeros(1, n), points, strides, torch.tensor([boxes]), labels, None
    )


def positives(assignment, scene):
    """(stride, x, y) of the positives of one image, each with its ground truth."""
    where = assignment.fg_mask[0].nonzero()[:, 0]
    cells = zip(scene.strides[where].tolist(), *scene.anchor_points[where].T.tolist(), strict=True)
    return dict(zip(cells, assignment.matched_gt[0, where].tolist(), strict=True))


@RULES
@pytest.mark.parametrize("seed", range(6))
def test_random_scenes(assign, reach, seed):
    """Crowded ones, whose centres lie on borders of cells and outside the image too."""
    scene = random_scene((0, 3, 40, 25), size=(96, 160, 320)[seed % 3], seed=seed)
    size = random_gts(scene.gt_boxes.shape[:2], 1, torch.Generator().manual_seed(seed + 50))[..., 2:]
    scene = scene._replace(gt_boxes=torch.cat([(scene.gt_boxes[..., :2] / 4).round() * 4, 4 * size], -1))
    found = check(scene, assign, reach)
    assert found.num_fg[0] == 0
    levels = [(found.fg_mask & (scene.strides == s)).any().item() for s in (8, 16, 32)]
    assert all(levels), levels


@pytest.mark.parametrize(
    ("farthest", "stride"),
    [(0, 8), (4, 8), (64, 8), (64.0625, 16), (128, 16), (128.0625, 32), (256, 32), (1e6, 32), (1e38, 32)],
)
def test_the_level_is_by_the_farther_side(farthest, stride):
    for w, h in ((2 * farthest, 1.0), (1.0, 2 * farthest)):
        scene = one_gt((100.0, 100.0, w, h))
        assert [cell[0] for cell in positives(center(*scene), scene)] == [stride if max(w, h) > 1 else 8]


def test_two_levels_of_one_stride_and_a_gap():
    """Between 8 x 8 and 8 x 64 pixels nothing is left out, and the anchors come in any order."""
    points, strides = anchor_grid(256, 256, (64, 8))
    for farthest, stride in ((64, 8), (65, 64), (600, 64)):
        scene = one_gt((100.0, 100.0, 2.0 * farthest, 4.0))
        rest = torch.zeros(1, len(strides), 3), None, points, strides
        found = center(torch.ones(1, len(strides), 4), *rest, *scene[5:])
        assert strides[found.fg_mask[0]].tolist() == [stride]


@pytest.mark.parametrize(
    ("centre", "cell"),
    [
        ((0.0, 0.0), (4, 4)),
        ((8.0, 8.0), (12, 12)),
        ((7.9999995, 8.0), (4, 12)),
        ((255.99998, 0.0), (252, 4)),
        ((-1e-30, 4.0), None),
        ((4.0, 256.0), None),
    ],
)
def test_a_border_belongs_to_one_cell(centre, cell):
    scene = one_gt((*centre, 10.0, 10.0))
    assert positives(center(*scene), scene) == ({} if cell is None else {(8, *cell): 0})


def test_float64_decides_what_float32_cannot():
    scene = one_gt((8.0, 8.0, 10.0, 10.0))
    left = scene._replace(gt_boxes=scene.gt_boxes.double() - torch.tensor([1e-12, 0, 0, 0], dtype=torch.float64))
    assert positives(center(*left), left) == {(8, 4, 12): 0}


def test_more_classes_than_the_labels_type_can_count():
    scene = one_gt((20.0, 20.0, 10.0, 10.0), labels=[100])
    many = torch.zeros(1, len(scene.strides), 200)
    assert center(*scene._replace(cls_logits=many, gt_labels=scene.gt_labels.to(torch.int8))).num_fg == 1


def test_a_level_of_one_cell():
    scene = one_gt((20.0, 20.0, 300.0, 300.0), size=32)
    assert positives(center(*scene), scene) == positives(multi_positive(*scene), scene) == {(32, 16, 16): 0}


def test_a_centre_outside_gets_the_cells_that_exist():
    scene = one_gt((-1.0, 20.0, 10.0, 10.0), (261.0, 261.0, 10.0, 10.0), (-9.0, 100.0, 10.0, 10.0))
    assert positives(center(*scene), scene) == {}
    found = positives(multi_positive(*scene), scene)
    assert found == {(8, 4, 12): 0, (8, 4, 20): 0, (8, 4, 28): 0, (8, 252, 252): 1}


def test_a_shared_cell_goes_to_the_smaller_gt_then_to_the_lower_row():
    boxes = (50.0, 50.0, 20.0, 10.0), (51.0, 51.0, 10.0, 12.0), (52.0, 52.0, 12.0, 10.0), (60.0, 52.0, 4.0, 4.0)
    scene = one_gt(*boxes)
    assert positives(center(*scene), scene) == {(8, 52, 52): 1, (8, 60, 52): 3}
    found = positives(multi_positive(*scene), scene)
    assert found[8, 44, 52] == 1 and found[8, 52, 52] == 3 and set(found.values()) == {1, 3}
    areas_beyond_float32 = one_gt((50.0, 50.0, 1e30, 1e30), (200.0, 200.0, 2e30, 1e30))
    assert set(positives(center(*areas_beyond_float32), areas_beyond_float32).values()) == {0, 1}


@RULES
def test_absent_gts_take_no_cell(assign, reach):
    """Padding, NaN and labels that are none take no cell, and lose none to each other."""
    nan = math.nan
    boxes = [(40.0, 40.0, 9.0, 9.0), (40.0, 40.0, 8.0, nan), (40.0, nan, 8.0, 8.0), (40.0, 40.0, 7.0, 7.0)]
    scene = one_gt(*boxes, (40.0, 40.0, 6.0, 6.0), (80.0, 40.0, 5.0, 5.0), labels=[2, 0, 0, 3, -1, 1])
    assert set(positives(assign(*scene), scene).values()) == {0, 5}
    assert set(positives(check(scene._replace(num_gts=torch.tensor([5])), assign, reach), scene).values()) == {0}
    for count, rows in ((0, set()), (-3, set()), (99, {0, 5})):
        found = assign(*scene._replace(num_gts=torch.tensor([count], dtype=torch.int8)))
        assert set(positives(found, scene).values()) == rows


@RULES
@pytest.mark.parametrize("shape", [(0, 21, 3), (2, 0, 3), (2, 21, 0), (0, 0, 0)])
def test_empty_dimensions(assign, reach, shape):
    B, N, G = shape
    scene = torch.zeros(B, N, 4), torch.zeros(B, N, 2), None, torch.zeros(N, 2), torch.ones(N), torch.zeros(B, G, 4)
    found = assign(*scene, torch.zeros(B, G, dtype=torch.int64))
    assert found.matched_gt.shape == found.matched_iou.shape == (B, N) and found.num_fg.tolist() == [0] * B
    assert (found.matched_gt == -1).all() and (found.matched_iou == 0).all()
    assert found.matched_gt.dtype == found.num_fg.dtype == torch.int64


@RULES
def test_predictions_of_nothing(assign, reach):
    scene = random_scene((5, 9))
    found = assign(*scene)
    nothing = [torch.full_like(t, math.nan) for t in scene[:3]]
    blind = assign(*nothing, *scene[3:])
    assert torch.equal(blind.matched_gt, found.matched_gt) and (found.matched_iou > 0).any()
    assert (blind.matched_iou == 0).all() and torch.equal(blind.num_fg, found.num_fg)


@RULES
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtypes_and_strides_of_memory(assign, reach, dtype):
    scene = random_scene((5, 9), size=96)
    exact = scene.gt_boxes.to(dtype).to(torch.float32)  # bfloat16 rounds, and the same must come of what it rounds to
    wide = scene._replace(gt_boxes=exact)
    narrow = wide._replace(
        **{name: strided(getattr(wide, name).to(dtype)) for name in ("gt_boxes", "anchor_points", "strides")},
        gt_labels=strided(scene.gt_labels.to(torch.uint8)),
        num_gts=scene.num_gts.to(torch.int16),
        pred_boxes=strided(scene.pred_boxes),
    )
    torch.testing.assert_close(assign(*narrow), assign(*wide), rtol=1e-6, atol=0)


@RULES
def test_compiles_and_detaches(assign, reach):
    scene = random_scene((3, 0, 7))
    learned = [t.clone().requires_grad_() for t in scene[:3]]
    assert not any(t.requires_grad for t in assign(*learned, *scene[3:]))
    check_compiles(assign, *learned, *scene[3:])


@RULES
def test_errors(assign, reach):
    scene = random_scene((2,))
    with pytest.raises(ValueError, match=r"gt_labels must be \[B, G\] with G = 4, got \[1, 3\]"):
        assign(*scene._replace(gt_labels=scene.gt_labels[:, :3]))
    with pytest.raises(TypeError, match=r"strides must be float32, .*, got torch\.int64"):
        assign(*scene._replace(strides=scene.strides.long()))


def test_ota_is_the_op_in_the_order_of_simota():
    scene = random_scene((4, 0, 6))
    for given in (scene, scene._replace(num_gts=None), scene._replace(obj_logits=None)):
        expected = yolox_ops.ota(*given[:2], *given[3:], obj_logits=given.obj_logits)
        torch.testing.assert_close(ASSIGNERS["ota"](*given), expected, rtol=0, atol=0)
    learned = [t.clone().requires_grad_() for t in scene[:3]]
    check_compiles(ASSIGNERS["ota"], *learned, *scene[3:])


def test_names():
    assert list(ASSIGNERS) == list(STYLES) == ["simota", "ota", "center", "multi-positive"]


@pytest.mark.parametrize("name", list(ASSIGNERS))
def test_the_loss_takes_each_assigner(name):
    scene = random_scene((4, 0, 6))
    head = [t.clone().requires_grad_() for t in scene[:3]]
    loss = yolox_loss(*head, *scene[3:], assigner=ASSIGNERS[name])
    loss.total.backward()
    assert loss.num_fg[1] == 0 and loss.num_fg[0] > 0 and all(t.grad.isfinite().all() for t in head)
