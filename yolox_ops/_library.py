"""Loads the compiled kernels and tells what is loaded. Importing the ops needs nothing else."""

import ctypes
import platform
from pathlib import Path

import torch

_FOLDER = Path(__file__).parent
_BUILD = "build it with `pip install .` (or `pip install --no-build-isolation -e .`) in the yolox_ops checkout"


def _load(path: Path) -> ctypes.CDLL:
    try:
        torch.ops.load_library(path)
    except OSError as error:
        raise ImportError(f"{path} exists but does not load: {error}; {_BUILD}") from error
    return ctypes.CDLL(str(path))


def _text(library: ctypes.CDLL, symbol: str) -> str:
    function = getattr(library, symbol)
    function.restype = ctypes.c_char_p
    return function().decode()


if not (_FOLDER / "_C.so").is_file():
    raise ImportError(f"{_FOLDER / '_C.so'} is missing: {_BUILD}")
_cpu = _load(_FOLDER / "_C.so")
# A CPU-only torch has no CUDA to serve, so a CUDA library beside it stays untouched.
_has_cuda = torch.version.cuda is not None and (_FOLDER / "_C_cuda.so").is_file()
_cuda = _load(_FOLDER / "_C_cuda.so") if _has_cuda else None


def build_info() -> dict[str, str]:
    """What is installed and what serves each device, as a dictionary of short texts to print into a bug report."""
    from yolox_ops import __version__

    return {
        "yolox_ops": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu": f"C++ (_C.so, {_text(_cpu, 'yolox_ops_compiler')})",
        "simd": _text(_cpu, "yolox_ops_simd_level"),
        "cuda": f"CUDA C++ (_C_cuda.so, {_text(_cuda, 'yolox_ops_cuda_build')})" if _cuda else "none",
    }
