"""A process's defaults change nothing: what a function makes follows the tensors that it is given."""

from contextlib import contextmanager

import pytest
import torch
from public_calls import NAMES, make_case, make_scene

import yolox_ops

pytestmark = pytest.mark.plain


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


GLOBALS = {
    "default device": lambda: torch.device("meta"),
    "double by default": lambda: default_dtype(torch.float64),
    "half by default": lambda: default_dtype(torch.float16),
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("setting", GLOBALS)
@pytest.mark.parametrize("name", NAMES)
def test_defaults_of_the_process(name, setting):
    module, inputs = make_case(name)
    wanted = module(*inputs)
    with GLOBALS[setting]():
        found = module(*inputs)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("setting", GLOBALS)
def test_explain(setting):
    scene = make_scene()
    assignment = yolox_ops.simota(*scene)
    wanted = yolox_ops.explain(assignment, *scene)
    with GLOBALS[setting]():
        assert str(yolox_ops.explain(assignment, *scene)) == str(wanted)
