"""What can be known of the CUDA kernels without a GPU: ptxas's report, kept by the build beside every object."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for path in (ROOT / "csrc").glob("*/*.cu") if path.stem != "build_info")
HAS_NVCC = os.environ.get("CUDA_HOME", shutil.which("nvcc"))
pytestmark = pytest.mark.skipif(not HAS_NVCC, reason="no nvcc here, so nothing was compiled for a GPU")


def kernels(source: Path) -> list[tuple[str, str, int]]:
    """(kernel, architecture, bytes spilled) of everything that was compiled from a source."""
    report = (ROOT / f"build/native/_C_cuda/{source.name}.o.ptxas").read_text()
    report = subprocess.run(["c++filt"], input=report, capture_output=True, text=True, check=True).stdout
    entry = r"Compiling entry function '(.+)' for '(\w+)'\n.*\n\s*\d+ bytes stack frame, (\d+) bytes spill stores"
    return [(name, arch, int(spilled)) for name, arch, spilled in re.findall(entry, report)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_architecture_is_compiled(source):
    wanted = os.environ.get("YOLOX_OPS_CUDA_ARCHS", "75 80 86 89 90 100 120").replace(",", " ").split()
    compiled = {arch for _, arch, _ in kernels(source)}
    assert compiled == {f"sm_{arch}" for arch in wanted}
    assert len(kernels(source)) % len(wanted) == 0


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_float32_kernel_spills_registers(source):
    """Those for float64 may: consumer GPUs compute it so slowly that nobody is in a hurry there."""
    spilling = [(name, arch, spilled) for name, arch, spilled in kernels(source) if spilled and "<double" not in name]
    assert spilling == []
