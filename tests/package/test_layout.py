"""The tree shows the architecture: every op has its rooms, and what is registered is whole."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import yolox_ops
from yolox_ops import _numpy
from yolox_ops._library import _cuda_server, _load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OP_TABLE = README.split("## Build")[0]
OPS = sorted(path.stem for path in (ROOT / "yolox_ops/ops").glob("*.py") if path.stem != "__init__")
CUDA_KERNELS = [path for path in (ROOT / "csrc").glob("*/*.cu") if path.stem != "build_info"]
HAS_CUDA_LIBRARY = (Path(yolox_ops.__file__).parent / "_C_cuda.so").is_file()
ROOMS = ["csrc/*/{}.cpp", "python_ref/{}.py", "tests/ops/test_{}.py", "benchmarks/bench_{}.py"]


def test_the_readme_lists_every_op():
    assert sorted(re.findall(r"^\| `(\w+)`", OP_TABLE, re.MULTILINE)) == OPS


@pytest.mark.parametrize(("column", "pattern"), [(4, "csrc/*/{}.cu"), (5, "yolox_ops/triton/{}.py")])
def test_the_readme_tells_which_ops_a_gpu_has(column, pattern):
    rows = [line.split("|") for line in OP_TABLE.splitlines() if line.startswith("| `")]
    assert len(rows) == len(OPS)
    for cells in rows:
        op = re.findall(r"`(\w+)`", cells[1])[0]
        assert (cells[column].strip() != "no") == bool(list(ROOT.glob(pattern.format(op))))


def test_the_readme_example_runs():
    code = README.split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assignment = names["assignment"]
    assert assignment.matched_gt.shape == assignment.matched_iou.shape == (2, 6400)
    assert assignment.num_fg[0] > 0 and assignment.num_fg[1] == 0
    assert names["box_targets"].shape == (assignment.num_fg[0], 4)
    assert names["cls_targets"].shape == (assignment.num_fg[0], 80)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("room", ROOMS)
def test_every_op_has_its_rooms(op, room):
    assert len(list(ROOT.glob(room.format(op)))) == 1


@pytest.mark.parametrize("op", OPS)
def test_every_op_has_one_family(op):
    assert len({path.parent for path in ROOT.glob(f"csrc/*/{op}.*")}) == 1


@pytest.mark.parametrize("op", OPS)
def test_every_op_is_measured(op):
    """As benchmarks/workloads.py and the report find it."""
    bench = importlib.import_module(f"benchmarks.bench_{op}")
    assert callable(bench.floor) and callable(getattr(bench, f"workload_{op}"))
    assert bench.sweep.function.__name__.removeprefix("batched_") == op


def test_every_registered_op_has_a_page():
    names = {name.partition("::")[2] for name in torch._C._dispatch_get_all_op_names() if "yolox_ops::" in name}
    assert {name.removesuffix("_backward") for name in names} == set(OPS)


@pytest.mark.parametrize("op", OPS)
def test_every_op_is_public_documented_and_registered(op):
    assert op in yolox_ops.__all__
    for words in ("Args:", "Returns:", "Raises:"):
        assert words in getattr(yolox_ops, op).__doc__
    name = f"yolox_ops::{op}"
    assert torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU")
    assert torch._C._dispatch_has_kernel_for_dispatch_key(name, "Meta")  # the fake


@pytest.mark.parametrize("path", sorted((ROOT / "csrc").glob("*/*.c*")), ids=lambda path: path.name)
def test_every_kernel_file_belongs_to_an_op(path):
    assert path.stem in [*OPS, "build_info"] or path.suffix == ".cuh" or path.parent.name == "numpy"


def test_nothing_is_implemented_without_a_schema():
    dangling = [line for line in torch._C._dispatch_find_dangling_impls() if "yolox_ops" in line]
    assert dangling == []


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_is_served_by_the_cuda_library():
    assert yolox_ops.build_info()["cuda"].startswith("CUDA C++ (_C_cuda.so")
    for path in CUDA_KERNELS:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"yolox_ops::{path.stem}", "CUDA")


@pytest.mark.parametrize(
    ("gpu_torch", "library", "triton", "server"),
    [
        (True, True, True, "library"),
        (True, True, False, "library"),
        (True, False, True, "triton"),
        (True, False, False, "nobody"),
        (False, True, True, "nobody"),
    ],
)
def test_who_serves_a_gpu(gpu_torch, library, triton, server):
    assert _cuda_server(gpu_torch, library, triton) == server


def in_a_new_process(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA has its kernels here")
def test_triton_serves_every_op_when_asked():
    code = """
import sys, torch, yolox_ops
from yolox_ops._library import serve_cuda_by_triton
has = lambda op: torch._C._dispatch_has_kernel_for_dispatch_key(f"yolox_ops::{op}", "CUDA")
ops = %r
before = [op for op in ops if has(op)]
serve_cuda_by_triton()
print(before, all(map(has, ops)), "triton" in sys.modules)
""" % [*OPS, "pairwise_iou_backward", "aligned_iou_backward"]
    run = in_a_new_process(code)
    assert run.stderr == "" and run.stdout == "[] True False\n"


def test_a_cuda_library_beside_a_cpu_torch_is_left_alone():
    run = in_a_new_process("import torch, yolox_ops; print(yolox_ops.build_info()['cuda'])")
    assert run.returncode == 0 and run.stderr == ""
    if torch.version.cuda is None:
        assert run.stdout.startswith("none: this torch is CPU-only (")


@pytest.mark.skipif(torch.cuda.is_available() or not HAS_CUDA_LIBRARY, reason="_C_cuda.so loads here, or was not built")
def test_a_cuda_library_that_fails_to_load_is_an_error_that_says_why():
    run = in_a_new_process("import torch; torch.version.cuda = '13.0'; import yolox_ops")
    assert re.search(r"ImportError: .*_C_cuda\.so exists but does not load: .*\.so", run.stderr)


def test_a_missing_library_says_how_to_build_it(tmp_path):
    with pytest.raises(ImportError, match=r"_C\.so is missing: .*pip install"):
        _load(tmp_path / "_C.so")
    (tmp_path / "_C.so").write_text("no library")
    with pytest.raises(ImportError, match=r"_C\.so exists but does not load: "):
        _load(tmp_path / "_C.so")


def test_build_info_names_versions_and_servers():
    info = yolox_ops.build_info()
    assert info["yolox_ops"] == yolox_ops.__version__ and info["torch"] == torch.__version__
    assert "_C.so" in info["cpu"] and "torch ABI 2.11" in info["cpu"]
    assert ("compiled for" if HAS_CUDA_LIBRARY else "without nvcc") in info["cuda"]
    assert info["numpy"] == f"C++ ({Path(_numpy.__file__).name})"
    assert info["simd"] in ("baseline", "x86-64-v3 (AVX2)", "x86-64-v4 (AVX-512)")


@pytest.mark.parametrize("path", sorted((ROOT / "python_ref").glob("*.py")), ids=lambda path: path.stem)
def test_the_reference_stands_on_its_own(path):
    imports = [line.split()[1] for line in path.read_text().splitlines() if line.startswith(("import ", "from "))]
    allowed = ("math", "itertools", "collections.abc", "typing", "python_ref")
    assert all(name.split(".")[0] in {a.split(".")[0] for a in allowed} for name in imports), imports
