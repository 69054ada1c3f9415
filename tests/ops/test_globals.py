"""A process's defaults change nothing: what a function makes follows the tensors that it is given."""

import pytest
import torch
from process_settings import SETTINGS
from public_calls import NAMES, make_case, make_scene

import yolox_ops

pytestmark = pytest.mark.plain


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", NAMES)
def test_defaults_of_the_process(name, setting):
    module, inputs = make_case(name)
    wanted = module(*inputs)
    with SETTINGS[setting]():
        found = module(*inputs)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("setting", SETTINGS)
def test_explain(setting):
    scene = make_scene()
    assignment = yolox_ops.simota(*scene)
    wanted = yolox_ops.explain(assignment, *scene)
    with SETTINGS[setting]():
        assert str(yolox_ops.explain(assignment, *scene)) == str(wanted)
