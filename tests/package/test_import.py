"""What an import loads: yolox_ops.numpy nothing of torch, and yolox_ops every op as soon as torch is there."""

import ast
import re
from pathlib import Path

import torch
from arrays import in_a_new_process

import yolox_ops
from yolox_ops._arguments import check_number


def test_numpy_imports_no_torch():
    code = """
import sys, numpy
before = set(sys.modules)
import yolox_ops.numpy
print(sorted({name.split(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
"""
    assert in_a_new_process(code).stdout == "['yolox_ops']\n"


def test_numpy_is_imported_at_once():
    """Without NumPy's own time; torch takes more than a second."""
    lines = in_a_new_process("import numpy, yolox_ops.numpy", "-X", "importtime").stderr.splitlines()
    microseconds = [re.search(r"\|\s*(\d+) \| yolox_ops", line) for line in lines]
    assert sum(int(found[1]) for found in microseconds if found) < 250_000


def test_numpy_works_where_torch_is_not_installed():
    code = """
import sys
sys.modules["torch"] = None  # an import of it now fails
import numpy as np, yolox_ops.numpy, yolox_ops
print(yolox_ops.numpy.soft_nms(np.float32([[0, 0, 2, 2]]), np.float32([0.5]))[0])
assert "soft_nms" in dir(yolox_ops)
try:
    yolox_ops.simota
except ModuleNotFoundError as error:
    print(error)
"""
    words = "all of yolox_ops but yolox_ops.numpy needs torch: import of torch halted; None in sys.modules"
    assert in_a_new_process(code).stdout == f"[0]\n{words}\n"


def test_a_missing_library_says_what_it_wants():
    code = """
import sys
sys.modules["yolox_ops._numpy"] = None
try:
    import yolox_ops.numpy
except ImportError as error:
    print(error)
"""
    words = r"_numpy does not load: import of yolox_ops._numpy halted.*; .*`pip install.*, where Python.h is"
    assert re.search(words, in_a_new_process(code).stdout)


def test_ops_are_registered_with_torch():
    in_a_new_process("import torch, yolox_ops; torch.ops.yolox_ops.simota; torch.ops.yolox_ops.soft_nms")
    in_a_new_process("import yolox_ops, yolox_ops.ops, torch; torch.ops.yolox_ops.simota")
    in_a_new_process("import yolox_ops.yolox, torch; torch.ops.yolox_ops.dynamic_k_match")


def test_names_come_with_their_first_use():
    code = """
import sys, yolox_ops
assert "torch" not in sys.modules and set(yolox_ops.__all__) <= set(dir(yolox_ops))
assert not hasattr(yolox_ops, "nothing") and "torch" not in sys.modules
import torch
compiled = torch.compile(lambda x: yolox_ops.pairwise_iou(x, x), fullgraph=True, backend="aot_eager")
print(compiled(torch.tensor([[0.0, 0, 1, 1]])))
from yolox_ops import *
assert all(globals()[name] is getattr(yolox_ops, name) for name in yolox_ops.__all__)
"""
    assert in_a_new_process(code).stdout == "tensor([[1.]])\n"


def test_type_checkers_see_the_names_that_are_handed_out():
    tree = ast.parse(Path(yolox_ops.__file__).read_text())
    (static,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.asname: (node.module, alias.name) for node in static.body for alias in node.names}
    assert seen == {name: (home, name) for name, home in yolox_ops._HOMES.items()}
    assert yolox_ops.__all__ == sorted(seen)


def test_numbers_of_a_traced_program_are_known_without_torch():
    for symbol in (torch.SymInt(None), torch.SymFloat(None)):
        check_number("sigma", symbol)
    code = """
import sys
import yolox_ops
from yolox_ops._arguments import check_number
class Symbol:
    def __sym_float__(self):
        return 0.5
for absent in (False, True):
    if absent:
        sys.modules["torch"] = None
    try:
        check_number("sigma", Symbol())
    except TypeError as error:
        print(str(error).partition(" object at")[0])
"""
    assert in_a_new_process(code).stdout == "sigma must be a number, got <__main__.Symbol\n" * 2
