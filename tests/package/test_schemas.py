"""The ops' schemas stand in _C.so: who loads that file has the ops, with or without this package."""

from pathlib import Path

import pytest
import torch
from arrays import in_a_new_process

import yolox_ops
from yolox_ops._library import check_schema

pytestmark = pytest.mark.plain
LIBRARY = Path(yolox_ops.__file__).parent / "_C.so"
OPS = sorted(path.stem for path in (LIBRARY.parent / "ops").glob("*.py") if path.stem != "__init__")


def test_the_library_alone_has_every_op():
    code = f"""
import sys, torch
torch.ops.load_library({str(LIBRARY)!r})
assert all(hasattr(torch.ops.yolox_ops, op) for op in {OPS!r})
boxes = torch.tensor([[[0.0, 0, 2, 2]]])
print(torch.ops.yolox_ops.pairwise_iou(boxes, boxes + 1, "xyxy", "iou").item() * 7, "yolox_ops" in sys.modules)
"""
    ratio, package = in_a_new_process(code).stdout.split()
    assert float(ratio) == pytest.approx(1) and package == "False"


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "imports", ["import yolox_ops, torch", "import torch, yolox_ops", "import yolox_ops.numpy, torch"]
)
def test_a_saved_program_is_loaded_in_either_order_of_imports(imports, tmp_path):
    class Suppress(torch.nn.Module):
        def forward(self, boxes, scores):
            return yolox_ops.soft_nms(boxes, scores)

    boxes, scores = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1], [5, 5, 6, 6]]), torch.tensor([0.5, 0.25, 0.75])
    torch.jit.trace(Suppress(), (boxes, scores)).save(tmp_path / "program.pt")
    code = f"""
{imports}
program = torch.jit.load({str(tmp_path / "program.pt")!r})
print(program(torch.tensor({boxes.tolist()!r}), torch.tensor({scores.tolist()!r}))[0].tolist())
"""
    indices, _ = yolox_ops.soft_nms(boxes, scores)
    assert in_a_new_process(code, "-W", "ignore::DeprecationWarning").stdout == f"{indices.tolist()}\n"


def test_importing_torch_later_says_what_is_wrong_with_the_ops():
    """An import of torch must not fail for them."""
    code = """
import sys, warnings
import yolox_ops.numpy
sys.modules["yolox_ops.ops"] = None
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import torch
print([str(warning.message) for warning in caught if "yolox_ops" in str(warning.message)])
print(torch.ones(1).item())
"""
    words, one = in_a_new_process(code).stdout.splitlines()
    assert words[2:].startswith("yolox_ops does not load: ") and one == "1.0"


SINKHORN = (
    "sinkhorn(Tensor cost, Tensor supply, Tensor demand, float epsilon, int iterations, float tolerance) -> Tensor"
)


def test_a_page_and_the_library_are_held_together():
    check_schema(SINKHORN)
    other = SINKHORN.replace("float tolerance", "int tolerance")
    with pytest.raises(ImportError) as refusal:
        check_schema(other)
    assert f"_C.so must define yolox_ops::{other}, got yolox_ops::{SINKHORN}: " in str(refusal.value)
    with pytest.raises(ImportError, match=r"must define yolox_ops::nothing\(\) -> Tensor, got none: .*pip install"):
        check_schema("nothing() -> Tensor")
