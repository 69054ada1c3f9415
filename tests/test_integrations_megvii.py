"""The patch of Megvii's head beside the heads' own code: pixeltable-yolox's, which is that of Megvii's repository
today, and that of the package yolox 0.3.0. tests/test_integrations_megvii_training.py trains with it."""

import copy
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from scenes import golden_scene
from torch import nn

from benchmarks import peers
from benchmarks.peers import Megvii
from benchmarks.scenes import scene, undecoded
from yolox_ops.integrations import megvii

CLASSES = 6
HEADS = {"yolox": peers.import_head, "yolox-0.3": peers.import_release_head}
each_head = pytest.mark.parametrize("release", [False, True], ids=HEADS)


def head_of(release: bool, **options) -> nn.Module:
    return HEADS["yolox-0.3" if release else "yolox"]()(num_classes=CLASSES, **options)


def arguments(counts, seed=0, dtype=torch.float32, labels=None):
    """Those of get_losses: a batch of images of 128 x 128 pixels, predictions that want gradients."""
    pred_boxes, cls_logits, obj_logits, points, strides, gt_boxes, gt_labels, num_gts = scene(
        counts, CLASSES, 128, seed
    )
    raw_boxes = undecoded(pred_boxes, points, strides).to(dtype).requires_grad_()
    outputs = torch.cat([pred_boxes, obj_logits[..., None], cls_logits], -1).to(dtype).requires_grad_()
    if labels is None:
        real = torch.arange(gt_boxes.shape[1]) < num_gts[:, None]
        labels = torch.where(real[..., None], torch.cat([gt_labels[..., None].float(), gt_boxes], -1), 0)
    shifts = (points / strides[:, None] - 0.5).to(dtype)
    levels = [(strides == s).nonzero()[:, 0] for s in strides.unique()]
    x, y, steps = ([t[None, level].to(dtype) for level in levels] for t in (*shifts.T, strides))
    return None, x, y, steps, labels, outputs, [raw_boxes[:, level] for level in levels], dtype


def losses(head, args, own=False):
    """The six returns of get_losses and the gradients of the predictions; `own`: by the head's own code."""
    find = type(head).get_losses.__get__(head) if own else head.get_losses
    with peers.deprecated_autocast():
        found = find(*args)
    wanted = (args[5], *args[6])
    return found, torch.autograd.grad(found[0], wanted, allow_unused=True, retain_graph=True)


def check_equal(ours, theirs, rtol=1e-4):
    for mine, own in zip(ours[0], theirs[0], strict=True):
        torch.testing.assert_close(torch.as_tensor(mine), torch.as_tensor(own).float(), rtol=rtol, atol=1e-6)
    for mine, own in zip(ours[1], theirs[1], strict=True):
        assert (mine is None) == (own is None)
        if own is not None:
            torch.testing.assert_close(mine, own, rtol=rtol, atol=rtol * own.abs().max().item())


@each_head
@pytest.mark.parametrize("use_l1", [False, True])
@pytest.mark.parametrize(("counts", "seed"), [([5], 0), ([3, 0, 12, 7], 1), ([0, 0], 2), ([30, 1], 3)])
def test_losses_and_gradients_are_the_heads_own(release, use_l1, counts, seed):
    head = megvii.patch(head_of(release))
    head.use_l1 = use_l1
    ours, theirs = (losses(head, arguments(counts, seed), own) for own in (False, True))
    check_equal(ours, theirs)
    assert isinstance(ours[0][4], float) != use_l1  # the head's own 0.0 is a number, too
    assert ours[0][5].shape == () and ours[0][5] > 0


@each_head
def test_giou(release):
    head = megvii.patch(head_of(release))
    head.iou_loss.loss_type = "giou"
    check_equal(*(losses(head, arguments([6, 3], 4), own) for own in (False, True)))


@each_head
def test_get_assignments(release, monkeypatch):
    """The head's own five returns, from its own signature."""
    head = megvii.patch(head_of(release))
    own_code = type(head).get_assignments
    for seed in range(8):
        args = scene([7, 2], CLASSES, 128, seed)
        peer = Megvii(*args, release=release)
        theirs = peer.run()
        peer.head = head
        with monkeypatch.context() as patching:
            patching.delattr(type(head), "get_assignments")
            ours = peer.run()
        assert type(head).get_assignments is own_code
        for mine, own in zip(ours, theirs, strict=True):
            for a, b in zip(mine, own, strict=True):
                assert type(a) is type(b)
                assert a == b if isinstance(a, int) else a.dtype == b.dtype
                if not isinstance(a, int):
                    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    pred_boxes, cls_logits, obj_logits, points, strides, gt_boxes, gt_labels, _ = golden_scene()
    shifts = (points / strides[:, None] - 0.5).T[:, None]
    gts = torch.cat([gt_boxes[0], torch.rand(2, 4) * 50]), torch.tensor([*gt_labels[0], 9.0, 9.0])  # two rows too many
    answer = megvii.get_assignments(
        0, 3, *gts, pred_boxes[0], strides[None], *shifts, cls_logits, obj_logits[..., None], "cpu"
    )
    assert answer[0].tolist() == [0, 0, 1, 0, 1, 2, 2, 2] and answer[3].tolist() == [0, 0, 2, 0, 2, 1, 1, 1]
    assert answer[1].nonzero()[:, 0].tolist() == [17, 18, 19, 26, 27, 70, 71, 74] and answer[4] == 8


def test_every_row_with_a_box_is_an_object():
    """The head's own code drops objects whose numbers add up to nothing, and then takes the wrong rows."""
    head = megvii.patch(head_of(False))
    packed = torch.tensor([[0, -8.0, -60, 20, 40], [2, 60, 60, 30, 30], [0, 4, 4, 20, 20], [0] * 5, [0] * 5])
    assert packed[0].sum() < 0
    args = list(arguments([1], 5))
    found = []
    packed[4, 0] = -1  # how some pad
    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 1, 2]):
        args[4] = packed[order][None]
        found.append(losses(head, args))
        inputs = megvii.scene(*args[1:6])
        assert inputs[-1].tolist() == [3] and torch.equal(inputs[5][0, :3], packed[:3, 1:])
        assert inputs[6][0, :3].tolist() == [0, 2, 0]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_half_precision_and_its_warning():
    """Under autocast the head's outputs are halves; labels that are, too, were rounded by somebody else."""
    head = megvii.patch(head_of(False))
    args = arguments([4, 9], 6)
    wanted, _ = losses(head, args)
    halved = list(arguments([4, 9], 6, torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        found, gradients = losses(head, halved)
    assert all(t.dtype == torch.float32 for t in (*found[:4], found[5])) and gradients[0].dtype == torch.bfloat16
    torch.testing.assert_close(found[0], wanted[0], rtol=0.05, atol=0)
    exact = list(arguments([4, 9], 6))
    exact[5] = halved[5].detach().float().requires_grad_()
    exact[1:4] = halved[1:4]
    torch.testing.assert_close(losses(head, exact)[0], found, rtol=1e-6, atol=0)  # what arrives is computed in float32
    halved[4] = halved[4].half()
    with pytest.warns(UserWarning, match=r"labels arrive as torch.float16, which rounds them: pass float32"):
        losses(head, halved)


TRAINER = """
import argparse, sys, types, warnings
import torch
from benchmarks import peers
warnings.simplefilter("ignore")
config = peers.megvii_config("yolox_nano", 6)
from yolox.core.trainer import Trainer
from yolox_ops.integrations import megvii

config.output_dir, config.input_size, config.ema = sys.argv[1], (64, 64), False
trainer = Trainer(config, argparse.Namespace(fp16=True, name="run"))
assert trainer.data_type == torch.float16
assert megvii.patch(trainer) is trainer and megvii.patch(trainer) is trainer
with megvii.patched(trainer):
    pass

# What before_train does, but for the GPU.
labels = torch.tensor([[[2, 30.3, 31.7, 20, 20], [0, 0, 0, 0, 0]]])
trainer.prefetcher = types.SimpleNamespace(next=lambda: (torch.rand(1, 3, 64, 64) * 255, labels))
trainer.model, trainer.optimizer = config.get_model(), config.get_optimizer(1)
trainer.lr_scheduler = config.get_lr_scheduler(0.01, 1)
trainer.epoch = trainer.iter = 0
trainer.max_iter, seen = 1, []
inner = trainer.model.head.get_losses
trainer.model.head.get_losses = lambda *args, **named: (seen.append(args[4]), inner(*args, **named))[1]
trainer.train_one_iter()
assert inner.__func__ is megvii.get_losses and torch.equal(seen[0], labels) and trainer.meter["total_loss"].latest > 0

trainer.model.head.get_losses = inner
megvii.unpatch(trainer)
assert trainer.data_type == torch.float16 and "get_losses" not in vars(config.get_model().head)
"""


def test_a_trainer_of_megviis(tmp_path):
    """One iteration of the Trainer with fp16: the labels reach the head as they were. It wants a process of its own, as
    it takes over stdout."""
    path = os.pathsep.join(map(str, [Path(p).resolve() for p in sys.path if p]))
    run = [sys.executable, "-c", TRAINER, str(tmp_path)]
    done = subprocess.run(run, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_patch_and_unpatch():
    model = peers.megvii_model("yolox_nano", CLASSES)
    own, state = model.head.get_losses, model.state_dict()
    megvii.unpatch(model)  # is no error
    assert megvii.patch(model) is model and megvii.patch(model) is model
    assert model.head.get_losses.__func__ is megvii.get_losses
    assert model.state_dict().keys() == state.keys()
    with megvii.patched(model):
        pass
    assert model.head.get_losses.__func__ is megvii.get_losses  # it was before
    averaged = copy.deepcopy(model)  # as Megvii's ModelEMA does
    assert averaged.head.get_losses.__self__ is averaged.head
    megvii.unpatch(model)
    assert model.head.get_losses == own and model.head.get_assignments.__func__ is type(model.head).get_assignments
    with pytest.raises(RuntimeError), megvii.patched(nn.Sequential(model.head)):
        assert model.head.get_losses.__func__ is megvii.get_losses
        raise RuntimeError
    assert model.head.get_losses == own


@pytest.mark.parametrize("name", ["get_losses", "get_assignments"])
def test_a_method_that_somebody_else_replaced_is_left_alone(name):
    head = head_of(False)
    setattr(head, name, hook := lambda *args: None)
    with pytest.raises(ValueError, match=f"{name} must be the method of YoloxHead, got <function .* in its place"):
        megvii.patch(head)
    megvii.unpatch(head)
    assert getattr(head, name) is hook


def test_an_experiment_that_makes_a_model_at_every_call():
    exp = types.SimpleNamespace(get_model=lambda: peers.megvii_model("yolox_nano", CLASSES))
    trainer = types.SimpleNamespace(exp=exp, data_type=torch.float16)
    with pytest.raises(ValueError, match=r"exp\.get_model\(\) must return one model, got another at the second call"):
        megvii.patch(trainer)
    assert trainer.data_type == torch.float16


def changed_head(name: str) -> nn.Module:
    """Heads of forks that do something else."""
    base = peers.import_head()

    class Weighted(base):
        def get_losses(self, *args, **kwargs):
            total, box, *rest = super().get_losses(*args, **kwargs)
            return total + box / 100, box, *rest

    class Wider(base):
        def get_geometry_constraint(self, gt_bboxes_per_image, expanded_strides, x_shifts, y_shifts):
            return super().get_geometry_constraint(gt_bboxes_per_image, expanded_strides * 1.3, x_shifts, y_shifts)

    class Longer(base):
        def get_losses(self, imgs, masks, *args):
            return super().get_losses(imgs, *args)

    class More(base):
        def get_losses(self, *args, **kwargs):
            return *super().get_losses(*args, **kwargs), 7

    class Other(base):
        def get_l1_target(self, *args, **kwargs):
            return super().get_l1_target(*args, **kwargs) * 2

    return {c.__name__: c for c in (Weighted, Wider, Longer, More, Other)}[name](CLASSES)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Weighted", r"Weighted must have a rule of Megvii's; on a made-up batch its total is .* by the rule 'yolox'"),
        ("Wider", "Wider must have a rule of Megvii's"),
        ("Other", "Other must have a rule of Megvii's; on a made-up batch its total"),
        ("Longer", r"Longer\.get_losses must run on a made-up batch of Megvii's, got TypeError"),
        ("More", r"More\.get_losses must return 6 values, got 7"),
    ],
)
def test_what_it_does_not_know_is_refused(name, words):
    head = changed_head(name)
    with pytest.raises(ValueError, match=words):
        megvii.patch(head)
    assert "get_losses" not in vars(head) and head.use_l1 is False


def test_errors():
    head = head_of(False)
    with pytest.raises(TypeError, match="target must hold a module of class YOLOXHead or YoloxHead, got Linear"):
        megvii.patch(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="target must be a model, a head or Megvii's Trainer, got SimpleNamespace"):
        megvii.patch(types.SimpleNamespace())
    with pytest.raises(ValueError, match="target must hold one YOLOX head, got 2"):
        megvii.patch(nn.ModuleList([head, head_of(False)]))
    args = list(arguments([2], 7))
    for labels, error, words in [
        (torch.zeros(1, 4, 6), ValueError, r"labels must be \[B, M, 5\], got \[1, 4, 6\]"),
        (torch.zeros(2, 4, 5), ValueError, r"labels must be \[B, M, 5\] with B = 1, got \[2, 4, 5\]"),
        ([[[0.0] * 5]], TypeError, "labels must be a torch.Tensor, got list"),
    ]:
        with pytest.raises(error, match=words):
            megvii.patch(head).get_losses(*args[:4], labels, *args[5:])
    args[4][0, 1, 0] = CLASSES
    with pytest.raises(ValueError, match=r"gt_labels must be in \[0, 6\), got 6 at image 0, row 1"):
        megvii.patch(head).get_losses(*args)


def test_patching_draws_no_random_numbers():
    head, state = head_of(False), torch.get_rng_state()
    megvii.patch(head)
    assert torch.equal(torch.get_rng_state(), state)


@each_head
def test_explained(release):
    model = nn.Sequential(head_of(release))
    args = arguments([3, 0], 9)
    for patched in (False, True):
        if patched:
            megvii.patch(model)
        own = vars(model[0]).get("get_losses")
        expected = losses(model[0], args)
        with megvii.explained(model) as explanations:
            check_equal(losses(model[0], args), expected, rtol=0)
        assert vars(model[0]).get("get_losses") is own
        [explanation] = explanations
        matched = Megvii(*scene([3, 0], CLASSES, 128, 9), release=release).assignment().matched_gt
        for gt in explanation.gts:
            assert gt.anchors.tolist() == (matched[0] == gt.row).nonzero()[:, 0].tolist()
            assert gt.k == gt.positives - gt.unasked + sum(gt.lost.values())
        assert len(explanation.gts) == 3 and explanation.images[1].positives == 0
    with megvii.explained(model):
        with pytest.raises(ValueError, match="get_losses must be the method of"):
            megvii.patch(model)
        own = megvii.unpatch(model)[0].__dict__["get_losses"]
        assert own.__name__ == "watched"
    assert vars(model[0])["get_losses"].__func__ is megvii.get_losses


def test_scene_is_what_the_ops_take():
    args = arguments([3, 1], 8)
    inputs = megvii.scene(*args[1:6])
    wanted = scene([3, 1], CLASSES, 128, 8)
    for found, want in zip(inputs[:5], wanted[:5], strict=True):
        torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-4)
    assert inputs[-1].tolist() == [3, 1] and torch.equal(inputs[5][0, :3], wanted[5][0, :3])
    assert inputs[6].dtype == torch.int64 and inputs[4].dtype == torch.float32
