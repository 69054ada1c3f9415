"""The models beside Megvii's own, as the package pixeltable-yolox carries them."""

import math

import pytest
import torch
from models import check_near, trained

from benchmarks.peers.megvii import megvii_model
from yolox_ops import simota
from yolox_ops.yolox import MODELS, anchor_grid, yolox_nano

# Parameters and state_dict keys of Megvii's models at 80 classes.
SIZES = {
    "yolox_nano": (912_159, 642),
    "yolox_tiny": (5_055_855, 462),
    "yolox_s": (8_968_255, 462),
    "yolox_m": (25_326_495, 606),
    "yolox_l": (54_208_895, 750),
    "yolox_x": (99_071_455, 894),
    "yolox_darknet53": (63_724_767, 528),
}


def images(*shape):
    return torch.randn(*shape)


@pytest.fixture(scope="module")
def nano():
    torch.manual_seed(0)
    return trained(yolox_nano(num_classes=3))


@pytest.mark.parametrize("name", MODELS)
def test_names_and_shapes_are_megviis(name):
    with torch.device("meta"):
        ours, theirs = MODELS[name](), megvii_model(name)
    shapes, expected = ([(key, value.shape) for key, value in m.state_dict().items()] for m in (ours, theirs))
    assert shapes == expected
    assert (sum(p.numel() for p in ours.parameters()), len(shapes)) == SIZES[name]
    assert list(MODELS) == list(SIZES)


@pytest.mark.parametrize("name", ["yolox_nano", "yolox_tiny", "yolox_s", "yolox_darknet53"])
def test_outputs_are_megviis(name):
    ours, theirs = trained(MODELS[name](num_classes=7)), megvii_model(name, 7).eval()
    theirs.load_state_dict(ours.state_dict())
    x = images(2, 3, 64, 96)
    with torch.no_grad():
        decoded, expected, raw = ours.decode(x), theirs(x), ours.raw(x)
        theirs.head.decode_in_inference = False
        raw_expected = theirs(x)[..., :4]
    assert decoded.shape == (2, 126, 12)
    assert expected.isfinite().all()
    assert raw.cls_logits.std(1).min() > 0.01 and raw.raw_boxes.std(1).min() > 0.01  # the images are seen
    check_near(decoded.unbind(-1), expected.unbind(-1))
    check_near(raw.raw_boxes.unbind(-1), raw_expected.unbind(-1))
    scores = raw.obj_logits[..., None].sigmoid(), raw.cls_logits.sigmoid()
    check_near(torch.cat([raw.pred_boxes, *scores], -1).unbind(-1), expected.unbind(-1))


@pytest.mark.parametrize("name", ["yolox_nano", "yolox_darknet53"])
def test_norms_train_as_megviis(name):
    ours, theirs = MODELS[name](2), megvii_model(name, 2)
    theirs.load_state_dict(ours.state_dict())
    x = images(2, 3, 64, 64)
    check_near(ours.backbone(x), theirs.backbone(x))
    check_near([*ours.backbone.buffers()], [*theirs.backbone.buffers()])


@pytest.mark.parametrize("name", ["yolox_nano", "yolox_darknet53"])
def test_heads_begin_as_megviis(name):
    head = MODELS[name](5).head
    for conv in (*head.cls_preds, *head.obj_preds):
        assert conv.bias.tolist() == pytest.approx([-math.log(99)] * len(conv.bias))
    assert all(conv.bias.abs().max() < 1 for conv in head.reg_preds)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160), (32, 224)])
def test_anchor_grid_is_megviis(height, width):
    points, strides = anchor_grid(height, width)
    head = megvii_model("yolox_nano").head
    head.hw = [(height // s, width // s) for s in (8, 16, 32)]
    corners, cells, _ = head.decode_outputs(torch.zeros(1, len(points), 5), "torch.FloatTensor")[0].split([2, 2, 1], 1)
    assert torch.equal(points, corners + cells / 2)
    assert torch.equal(strides[:, None].expand(-1, 2), cells)


def test_anchor_grid_of_other_strides():
    points, strides = anchor_grid(8, 12, (4, 2), dtype=torch.float64)
    assert points.dtype == strides.dtype == torch.float64
    assert points[:4].tolist() == [[2, 2], [6, 2], [10, 2], [2, 6]] and points[-1].tolist() == [11, 7]
    assert strides.tolist() == [4] * 6 + [2] * 24


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((64, 65), "multiples of 8, got 64 x 65"),
        ((0, 64), "positive multiples of 8, got 0 x 64"),
        ((64, 64, ()), "strides must name at least one level"),
        ((64, 64, (0,)), "stride must be at least 1, got 0"),
    ],
)
def test_anchor_grid_errors(args, words):
    with pytest.raises(ValueError, match=words):
        anchor_grid(*args)


def test_boxes_of_a_head_of_zeros():
    model = yolox_nano(1)
    for conv in model.head.reg_preds:
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
    p = model.raw(images(1, 3, 64, 32))
    assert torch.equal(p.pred_boxes[0, :, :2], p.anchor_points - p.strides[:, None] / 2)
    assert torch.equal(p.pred_boxes[0, :, 2:], p.strides[:, None].expand(-1, 2))
    assert torch.equal(p.raw_boxes, torch.zeros(1, 42, 4))
    assert p.cls_logits.shape == (1, 42, 1) and p.obj_logits.shape == (1, 42)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 160), (128, 64)])
def test_simota_takes_the_predictions(nano, height, width):
    pred_boxes, cls_logits, obj_logits, _, points, strides = nano.raw(images(2, 3, height, width))
    gts = torch.tensor([[[16.0, 16, 20, 20]]] * 2)
    assigned = simota(pred_boxes, cls_logits, obj_logits, points, strides, gts, torch.zeros(2, 1, dtype=torch.long))
    assert (assigned.num_fg > 0).all()
    assert points.amax(0).tolist() == [width - 4, height - 4]


def test_every_parameter_learns():
    model = yolox_nano(2)
    p = model.raw(images(2, 3, 64, 64))
    (p.pred_boxes.sum() + p.cls_logits.sum() + p.obj_logits.sum()).backward()
    assert all(q.grad is not None and q.grad.isfinite().all() for q in model.parameters())


def test_channels_last(nano):
    x = images(2, 3, 64, 96)
    with torch.no_grad():
        expected = nano.raw(x)
        last = yolox_nano(3).eval().to(memory_format=torch.channels_last)
        last.load_state_dict(nano.state_dict())
        found = last.raw(x.to(memory_format=torch.channels_last))
    check_near(found, expected)


def test_compiles_as_one_graph(nano):
    x = images(1, 3, 64, 32)
    with torch.no_grad():
        found = torch.compile(nano.raw, fullgraph=True, backend="aot_eager")(x)
        check_near(found, nano.raw(x))


def test_bfloat16_autocast(nano):
    x = images(2, 3, 64, 96)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        p = nano.raw(x)
    assert p.cls_logits.dtype == p.obj_logits.dtype == torch.bfloat16
    assert p.pred_boxes.dtype == p.raw_boxes.dtype == p.anchor_points.dtype == p.strides.dtype == torch.float32
    assert all(t.isfinite().all() for t in p)
    check_near([p.raw_boxes], [nano.raw(x).raw_boxes], bound=0.1)


@pytest.mark.parametrize("shape", [(1, 3, 64, 48), (1, 3, 48, 64), (1, 3, 0, 64), (1, 4, 64, 64), (3, 64, 64)], ids=str)
def test_images_of_another_shape(nano, shape):
    with pytest.raises(ValueError, match=r"images must be \[B, 3, H, W\].*, got \[" + ", ".join(map(str, shape))):
        nano(torch.zeros(shape))


def test_images_of_another_dtype(nano):
    with pytest.raises(TypeError, match=r"images must be float32, .*, got torch\.uint8"):
        nano(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize("count", [0, -1])
def test_no_classes(count):
    with pytest.raises(ValueError, match=f"num_classes must be at least 1, got {count}"):
        yolox_nano(count)
