"""Loads the compiled kernels and tells what is loaded. Importing the ops needs nothing else."""

import ctypes
import platform
import re
from pathlib import Path

import torch

_FOLDER = Path(__file__).parent
_BUILD = "build it with `pip install .` (or `pip install --no-build-isolation -e .`) in the yolox_ops checkout"
if (_FOLDER.parent / "setup.py").is_file():
    _BUILD = "Python found the sources here, not an install: run it from another folder, or `pip install -e .` here"


def _load(path: Path) -> None:
    if not path.is_file():
        raise ImportError(f"{path} is missing: {_BUILD}")
    try:
        torch.ops.load_library(path)
    except OSError as error:
        raise ImportError(f"{path} exists but does not load: {error}; {_BUILD}") from error


_CPU, _CUDA = _FOLDER / "_C.so", _FOLDER / "_C_cuda.so"
_load(_CPU)
# A CPU-only torch has no CUDA to serve, so a CUDA library beside it stays untouched.
if torch.version.cuda is not None and _CUDA.is_file():
    _load(_CUDA)


def _cpu_fact(symbol: str) -> str:
    function = getattr(ctypes.CDLL(str(_CPU)), symbol)
    function.restype = ctypes.c_char_p
    return function().decode()


def _cuda_facts() -> str:
    """Read from the file, as a CPU-only torch cannot load it."""
    if not _CUDA.is_file():
        return "none: built without nvcc"
    found = re.search(rb"(nvcc [\d.]+), compiled for ([\d,]+)", _CUDA.read_bytes())
    facts = "_C_cuda.so, of an unknown build"
    if found:
        archs = ", ".join(f"sm_{arch[:-1]}" for arch in found[2].decode().split(","))  # nvcc writes 900 for sm_90
        facts = f"_C_cuda.so, {found[1].decode()}, compiled for {archs}"
    return f"CUDA C++ ({facts})" if torch.version.cuda else f"none: this torch is CPU-only ({facts})"


def build_info() -> dict[str, str]:
    """What is installed and what serves each device, as a dictionary of short texts to print into a bug report."""
    from yolox_ops import __version__

    return {
        "yolox_ops": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu": f"C++ (_C.so, {_cpu_fact('yolox_ops_compiler')})",
        "simd": _cpu_fact("yolox_ops_simd_level"),
        "cuda": _cuda_facts(),
    }
