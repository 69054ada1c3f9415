"""Every preset beside the code that it is named after. The long runs are benchmarks/parity/; of the preset "yolox"
tests/ops/test_peer_megvii.py has more, of "mmdet" tests/integrations/test_mmdet.py."""

import inspect
import json
from pathlib import Path

import pytest
import torch

from benchmarks.parity.presets import PEERS, compare, matches, random_scene
from yolox_ops import PRESETS, simota

# By `python -m benchmarks.parity paddle --python PYTHON --images 12 --write tests/support/paddle_vectors.json` with
# paddlepaddle 3.3.1 and paddledet 2.6.0.
PADDLE = json.loads((Path(__file__).parents[1] / "support/paddle_vectors.json").read_text())


@pytest.mark.parametrize("preset", PEERS)
def test_each_preset_equals_the_code_it_is_named_after(preset):
    images = {"from-scratch": 20}.get(preset, 40)
    scenes = [random_scene(seed, 128 if preset == "from-scratch" else 640) for seed in range(images)]
    positives, different = compare(preset, PEERS[preset](scenes), scenes)
    assert positives > 600
    assert different * 1000 <= positives


def test_paddle_detection():
    positives = 0
    for seed, theirs in PADDLE.items():
        ours = matches(simota(*random_scene(int(seed)), **PRESETS["paddle"]).matched_gt[0])
        assert ours == {int(j): gt for j, gt in theirs.items()}
        positives += len(ours)
    assert positives > 600


def test_presets_are_rules():
    """Their keywords are simota's, the first is its default, and no two are the same."""
    defaults = {name: p.default for name, p in inspect.signature(simota).parameters.items() if p.kind == p.KEYWORD_ONLY}
    assert list(PRESETS) == ["yolox", "yolox-0.3", "mmdet", "paddle", "from-scratch"]
    rules = [{**defaults, **rule} for rule in PRESETS.values()]
    assert rules[0] == defaults
    assert all(rule.keys() == defaults.keys() for rule in rules)
    assert all(one != two for i, one in enumerate(rules) for two in rules[:i])
    with pytest.raises(TypeError, match="item assignment"):
        PRESETS["yolox"] = {}
    with pytest.raises(TypeError, match="item assignment"):
        PRESETS["yolox"]["center_radius"] = 9.0


def test_presets_differ_in_what_they_assign():
    """On one crowded image each rule gives another answer, but for those that differ by rounding alone."""
    args = random_scene(3)
    answers = {name: simota(*args, **rule).matched_gt for name, rule in PRESETS.items()}
    assert torch.equal(answers["yolox-0.3"], answers["mmdet"]) and torch.equal(answers["mmdet"], answers["paddle"])
    for one, two in [("yolox", "yolox-0.3"), ("yolox", "from-scratch"), ("yolox-0.3", "from-scratch")]:
        assert (answers[one] != answers[two]).sum() > 10
