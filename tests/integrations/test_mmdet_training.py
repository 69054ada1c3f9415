"""mmdet's own YOLOX from its own config, trained with the assigner of yolox_ops."""

import sys
from pathlib import Path

import pytest
import torch

from benchmarks.parity.mmdet import OURS, THEIRS, image
from benchmarks.peers.mmdet import (
    PATCH,
    TASK_UTILS,
    InstanceData,
    OptimWrapper,
    detector,
    detector_config,
    old_spellings,
    samples,
)
from yolox_ops.integrations import megvii

NAME = "YOLOXOpsSimOTAAssigner"
MODULE = "yolox_ops.integrations.mmdet"


def test_the_config_imports_the_assigner(tmp_path, monkeypatch):
    """mmengine runs custom_imports: what PATCH says, and docs/mmdet.md, is all that a user writes."""
    assert PATCH in (Path(__file__).parents[2] / "docs/mmdet.md").read_text()
    monkeypatch.delitem(sys.modules, MODULE)
    monkeypatch.delitem(TASK_UTILS.module_dict, NAME)
    config = detector_config("yolox_tiny", tmp_path, patched=True)
    assert config.model.train_cfg.assigner == {"type": NAME, "center_radius": 2.5}
    assigner = detector(config).bbox_head.assigner
    assert type(assigner).__module__ == MODULE and type(assigner).__name__ == NAME
    assert type(assigner) is not type(OURS)


def test_the_patch_of_megviis_heads_refuses_mmdets(tmp_path):
    """Both go by the name YOLOXHead."""
    model = detector(detector_config("yolox_tiny", tmp_path, patched=False))
    words = r"mmdet\.models\.dense_heads\.yolox_head\.YOLOXHead must be Megvii's, got one without get_losses"
    with pytest.raises(ValueError, match=words):
        megvii.patch(model)


def test_training_steps_of_the_real_detector(tmp_path):
    """YOLOX-Nano of mmdet's own config, L1 term included: at every step either assigner gives the same losses and the
    same gradients. A step is then taken; two runs apart drift apart, by rounding that training magnifies."""
    _, gts = image(6, size=128, seed=5)
    empty = InstanceData(**{key: value[:0] for key, value in gts.items()})
    model = detector(detector_config("yolox_nano", tmp_path, patched=True))
    assert type(model.bbox_head.assigner) is type(OURS)
    model.bbox_head.use_l1 = True
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3))
    data = {"inputs": list(torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8))}
    totals = []
    for labelled in ([gts, gts], [gts, empty], [empty, empty], [gts, gts]):
        answers = []
        for model.bbox_head.assigner in (THEIRS, OURS):
            model.zero_grad()
            with old_spellings():
                ready = model.data_preprocessor({**data, "data_samples": samples(labelled, 128)}, training=True)
                losses = model.loss(ready["inputs"], ready["data_samples"])
            sum(losses.values()).backward()
            gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
            answers.append(({name: loss.detach() for name, loss in losses.items()}, gradient))
        (theirs, their_gradient), (ours, our_gradient) = answers
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
        assert (our_gradient - their_gradient).norm() < 1e-4 * their_gradient.norm()
        assert (ours["loss_bbox"] > 0) == (ours["loss_l1"] > 0) == (labelled[0] is gts)
        optimizer.step()
        totals.append(sum(losses.values()).item())
    assert totals[3] < totals[0]
