"""What the patch of Megvii's head takes, leaves alone and refuses."""

import copy
import os
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from megvii_heads import CLASSES, arguments, check_equal, each_head, head_of, losses
from process_settings import SETTINGS
from torch import nn

from benchmarks.peers import megvii as peers
from yolox_ops.integrations import megvii

TRAINER = """
import argparse, sys, types, warnings
import torch
from benchmarks.peers import megvii as peers
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


def test_megviis_trainer_can_be_patched(tmp_path):
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
def test_changed_heads_are_refused(name, words):
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
        (torch.zeros(1, 4, 4), ValueError, r"labels must be \[B, M, 5 or more\], got \[1, 4, 4\]"),
        (torch.zeros(1, 4), ValueError, r"labels must be \[B, M, 5 or more\], got \[1, 4\]"),
        (torch.zeros(()), ValueError, r"labels must be \[B, M, 5 or more\], got \[\]"),
        (torch.zeros(2, 4, 6), ValueError, r"labels must be \[B, M, 5 or more\] with B = 1, got \[2, 4, 6\]"),
        (torch.zeros(1, 4, 5).bool(), TypeError, r"labels must be a float or integer tensor, got torch\.bool"),
        (torch.zeros(1, 4, 5) * 1j, TypeError, r"labels must be a float or integer tensor, got torch\.complex64"),
        ([[[0.0] * 5]], TypeError, "labels must be a torch.Tensor, got list"),
    ]:
        with pytest.raises(error, match=words):
            megvii.patch(head).get_losses(*args[:4], labels, *args[5:])
    args[4][0, 1, 0] = CLASSES
    with pytest.raises(ValueError, match=r"gt_labels must be in \[0, 6\), got 6 at image 0, row 1"):
        megvii.patch(head).get_losses(*args)


def settings():
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.get_default_dtype(), torch.get_default_device(), *modes, *strict


@each_head
@pytest.mark.parametrize("name", SETTINGS)
def test_the_made_up_batch_is_plain_torchs(name, release):
    """The head's own code sees the same as in a fresh process, and may draw; what was set stays set."""
    seen = []

    class Drawing(type(head_of(release))):
        def get_losses(self, *args, **named):
            args = [*args]
            seen.append((settings(), torch.rand(1).device, type(args[4]), args[4].is_inference()))
            return super().get_losses(*args, **named)

    head, plain = Drawing(CLASSES), settings()
    state = torch.get_rng_state()
    with SETTINGS[name]():
        before = settings()
        assert megvii.patch(head).get_losses.__func__ is megvii.get_losses
        assert settings() == before
    assert torch.equal(torch.get_rng_state(), state)
    wanted = (torch.float32, torch.device("cpu"), False, False, False, False, False), torch.device("cpu")
    assert set(seen) == {(*wanted, torch.Tensor, False)} and settings() == plain


def test_warnings_that_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        megvii.patch(head_of(True))


@each_head
@pytest.mark.parametrize(
    "strides",
    [
        [10, 20, 40], [7, 11], (8.0, 16.0, 32.0), [0.5, 1.25], [64], [4, 8, 16, 32, 64, 128], [1, 4000], [32, 16, 8],
        torch.tensor([6, 12, 24]), np.array([12.0, 20.0]),
    ],
    ids=str,
)  # fmt: skip
def test_strides_of_any_kind(strides, release):
    n = len(strides)
    head = type(head_of(release))(CLASSES, 0.125, strides=strides, in_channels=[256] * n)
    megvii.patch(head).use_l1 = True
    sizes = torch.randint(6, 12, (n, 2), generator=torch.Generator().manual_seed(n)).tolist()
    labels = torch.tensor([[[1, 2.5, 4, 3, 4], [0, 5.5, 3.8, 5, 5]], [[2, 1, 0.5, 0.5, 0.7], [0, 0, 0, 0, 0]]])
    labels[..., 1:] *= min(strides)
    with peers.deprecated_autocast(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.meshgrid")
        features = [torch.rand(2, 32, h, w) for h, w in sizes]
        ours = head(features, labels)
        theirs = megvii.unpatch(head)(features, labels)
    for mine, own in zip(ours, theirs, strict=True):
        torch.testing.assert_close(torch.as_tensor(mine), torch.as_tensor(own).float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strides", [[8, 0], [8, -16], [torch.inf], [torch.nan], []])
def test_strides_that_are_none(strides):
    head = head_of(False)
    head.strides = strides
    with pytest.raises(ValueError, match=r"^strides of YoloxHead must be positive and finite, got \["):
        megvii.patch(head)


@each_head
@pytest.mark.parametrize("use_l1", [False, True])
@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16,
        torch.uint32, torch.uint64,
    ],
)  # fmt: skip
@pytest.mark.parametrize("columns", [5, 6, 9])
def test_labels_that_the_head_takes(columns, dtype, use_l1, release):
    """More columns, which it does not look at, and numbers of any kind."""
    args = list(arguments([3, 2], 4))
    args[4] = torch.cat([args[4].round().clamp(0, 100), torch.zeros(2, 3, columns - 5)], -1).to(dtype)
    head = head_of(release)
    head.use_l1 = use_l1
    own = losses(head, args)
    args[4][0, :, 5:], args[4][1, :2, 5:] = 7, 1  # of objects, so that the head's own code counts the same
    assert [torch.as_tensor(x).item() for x in losses(head, args)[0]] == [torch.as_tensor(x).item() for x in own[0]]
    check_equal(losses(megvii.patch(head), args), own)
    args[4][..., 5:] = 3  # of padding, too
    check_equal(losses(head, args), own)


@each_head
@pytest.mark.parametrize(("objects", "columns"), [(0, 5), (0, 6), (4, 6)])
def test_labels_without_objects(objects, columns, release):
    args = list(arguments([3, 2], 4))
    args[4] = torch.zeros(2, objects, columns)
    own = losses(head_of(release), args)
    check_equal(losses(megvii.patch(head_of(release)), args), own)


def test_patching_draws_no_random_numbers():
    head, state = head_of(False), torch.get_rng_state()
    megvii.patch(head)
    assert torch.equal(torch.get_rng_state(), state)
