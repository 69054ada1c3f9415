"""yolox_ops.Scene: an assigner's eight tensors as one thing, and simota called with it in every way that torch has."""

import inspect

import pytest
import torch
from scenes import random_scene
from torch.testing import assert_close

import yolox_ops
from yolox_ops import Assignment, Scene, explain, ota, simota, simota_cost, yolox_loss
from yolox_ops.yolox import assigners

GOOD = random_scene([3, 2], size=32)
VARIANTS = {
    "whole": GOOD,
    "without objectness": GOOD._replace(obj_logits=None),
    "without padding": GOOD._replace(num_gts=None),
    "of one image": Scene(*(t if len(t) != 2 else t[1:] for t in GOOD)),
}
each_variant = pytest.mark.parametrize("scene", VARIANTS.values(), ids=VARIANTS.keys())


def assign(scene: Scene) -> Assignment:
    return simota(*scene, topk=5)


def assign_tensors(*tensors: torch.Tensor) -> Assignment:
    """The eight by position, as most code calls it."""
    return simota(*tensors, topk=5)


def assign_shifted(scene: Scene) -> Assignment:
    return simota(*scene._replace(pred_boxes=scene.pred_boxes + 1, num_gts=None), topk=5)


class Module(torch.nn.Module):
    """torch.export takes no functions, and knows no Assignment."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args):
        return tuple(self.function(*args))


def check_same(found, expected) -> None:
    assert_close(tuple(found), tuple(expected), rtol=0, atol=0)


@pytest.mark.parametrize("function", [simota, simota_cost, assigners.center, yolox_loss])
def test_fields_are_the_first_parameters_of_assigners(function):
    parameters = list(inspect.signature(function).parameters.values())[:8]
    assert tuple(p.name for p in parameters) == Scene._fields
    assert {p.name: p.default for p in parameters if p.default is not p.empty} == Scene._field_defaults
    assert Scene._field_defaults == {"num_gts": None}


def test_explain_takes_one_after_the_assignment():
    assert tuple(inspect.signature(explain).parameters)[1:9] == Scene._fields


def test_it_is_public_and_a_plain_tuple():
    assert "Scene" in yolox_ops.__all__ and yolox_ops.Scene is Scene
    assert issubclass(Scene, tuple)
    assert Scene(*GOOD[:7]).num_gts is None


@each_variant
def test_calls(scene):
    expected = simota(**scene._asdict(), topk=5)
    assert expected.num_fg.sum() > 0
    check_same(assign(scene), expected)
    check_same(assign_tensors(*scene), expected)


def test_replaced_tensors():
    moved = Scene(*GOOD)._replace(pred_boxes=GOOD.pred_boxes + 1, num_gts=None)
    check_same(assign_shifted(GOOD), assign(moved))
    assert not torch.equal(assign(moved).matched_iou, assign(GOOD).matched_iou)


@pytest.mark.plain
@each_variant
def test_compiled_calls(scene):
    for function, args in ((assign, [scene]), (assign_tensors, scene), (assign_shifted, [scene])):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        found = compiled(*args)
        assert isinstance(found, Assignment)
        check_same(found, function(*args))


@pytest.mark.plain
def test_methods_are_compiled():
    def masked(scene: Scene) -> Assignment:
        scene.check()
        return assign(scene.detach())

    scene = GOOD._replace(pred_boxes=GOOD.pred_boxes.clone().requires_grad_())
    compiled = torch.compile(masked, fullgraph=True, backend="aot_eager")
    check_same(compiled(scene), assign(scene))


@pytest.mark.plain
@pytest.mark.parametrize("strict", [False, True])
def test_exported_calls(strict):
    scene = GOOD._replace(obj_logits=None)
    for function, args in ((assign, (scene,)), (assign_tensors, tuple(scene)), (assign_shifted, (scene,))):
        exported = torch.export.export(Module(function), args, strict=strict)
        check_same(exported.module()(*args), function(*args))


def test_check_accepts():
    for scene in VARIANTS.values():
        assert scene.check() is None
    Scene(*(None if t is None else t.to("meta") for t in GOOD)).check()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"pred_boxes": GOOD.pred_boxes[0]}, ValueError, r"pred_boxes must be \[B, N, 4\], got \[21, 4\]"),
        ({"pred_boxes": None}, TypeError, "pred_boxes must be a torch.Tensor, got NoneType"),
        ({"pred_boxes": GOOD.pred_boxes.long()}, TypeError, "pred_boxes must be float32, .*, got torch.int64"),
        (
            {"cls_logits": GOOD.cls_logits[:, 1:]},
            ValueError,
            r"cls_logits must be \[B, N, C\] with N = 21, got",
        ),
        ({"obj_logits": GOOD.obj_logits[..., None]}, ValueError, r"obj_logits must be \[B, N\], got \[2, 21, 1\]"),
        ({"anchor_points": GOOD.anchor_points[:, :1]}, ValueError, r"anchor_points must be \[N, 2\], got \[21, 1\]"),
        ({"strides": GOOD.strides[:5]}, ValueError, r"strides must be \[N\] with N = 21, got \[5\]"),
        ({"gt_boxes": GOOD.gt_boxes[:1]}, ValueError, r"gt_boxes must be \[B, G, 4\] with B = 2, got \[1, 5, 4\]"),
        ({"gt_labels": GOOD.gt_labels[:, :1]}, ValueError, r"gt_labels must be \[B, G\] with G = 5, got \[2, 1\]"),
        ({"gt_labels": GOOD.gt_labels.float()}, TypeError, "gt_labels must be an integer tensor, got torch.float32"),
        ({"num_gts": torch.tensor([1])}, ValueError, r"num_gts must be \[B\] with B = 2, got \[1\]"),
        (
            {"strides": GOOD.strides.to("meta")},
            ValueError,
            "strides must be on the device of pred_boxes, got meta",
        ),
        ({"num_gts": GOOD.num_gts.to("meta")}, ValueError, "num_gts must be on the device of pred_boxes, got meta"),
    ],
)
def test_check_refuses_a_wrong_tensor(change, error, words):
    """The same words from check, and from whatever takes a scene."""
    wrong = GOOD._replace(**change)
    with pytest.raises(error, match=words):
        wrong.check()
    for function in (simota, simota_cost, yolox_loss, assigners.center, assigners.ota):
        with pytest.raises(error, match=words):
            function(*wrong)
    with pytest.raises(error, match=words):
        explain(simota(*GOOD), *wrong)


def test_the_first_error_counts():
    wrong = GOOD._replace(cls_logits=GOOD.cls_logits[0], strides=None, num_gts=torch.ones(2))
    with pytest.raises(ValueError, match="cls_logits must be"):
        wrong.check()
    with pytest.raises(TypeError, match="strides must be"):
        wrong._replace(cls_logits=GOOD.cls_logits).check()


def test_detach():
    scene = GOOD._replace(pred_boxes=GOOD.pred_boxes.clone().requires_grad_(), obj_logits=None)
    detached = scene.detach()
    assert isinstance(detached, Scene) and detached.obj_logits is None
    assert not detached.pred_boxes.requires_grad
    for before, after in zip(scene, detached, strict=True):
        assert before is after is None or before.data_ptr() == after.data_ptr()


def test_ota_takes_it_by_name():
    fields = GOOD._asdict()
    check_same(ota(**fields), assigners.ota(*GOOD))
