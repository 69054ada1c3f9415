"""Loads the compiled kernels and tells what is loaded. Importing the ops needs nothing else."""

import ctypes
import importlib
import importlib.util
import platform
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from yolox_ops._missing import HOW

_FOLDER = Path(__file__).parent


def _load(path: Path) -> None:
    if not path.is_file():
        raise ImportError(f"{path} is missing: {HOW}")
    try:
        torch.ops.load_library(path)
    except OSError as error:
        raise ImportError(f"{path} exists but does not load: {error}; {HOW}") from error


def _cuda_server(has_gpu_torch: bool, has_library: bool, has_triton: bool) -> str:
    """Who serves CUDA tensors: "library" (_C_cuda.so), "triton" or "nobody". A CPU-only torch has no GPU to serve, so a
    library beside it stays untouched."""
    if not has_gpu_torch:
        return "nobody"
    return "library" if has_library else "triton" if has_triton else "nobody"


_CPU, _CUDA = _FOLDER / "_C.so", _FOLDER / "_C_cuda.so"
_SERVER = _cuda_server(
    has_gpu_torch=bool(torch.version.cuda or torch.version.hip),
    has_library=_CUDA.is_file(),
    has_triton=importlib.util.find_spec("triton") is not None,
)
_load(_CPU)
if _SERVER == "library":
    _load(_CUDA)


def check_schema(schema: str) -> None:
    """Holds a page's line against the one that _C.so has defined, which may be of another version.

    Raises:
        ImportError: the op is missing there, or has another schema.
    """
    wanted = torch._C.parse_schema(f"yolox_ops::{schema}")
    op = getattr(torch.ops.yolox_ops, wanted.name.partition("::")[2], None)
    if op is None or op.default._schema != wanted:
        found = "none" if op is None else op.default._schema
        raise ImportError(f"{_CPU} must define {wanted}, got {found}: {HOW}")


def _triton_launcher(op: str) -> Callable[..., Any]:
    """yolox_ops.triton's function for an op; Triton itself is imported by the first call."""

    def launch(*args: Any) -> Any:
        module = importlib.import_module(f"yolox_ops.triton.{op.removesuffix('_backward')}")
        return getattr(module, op)(*args)

    return launch


def serve_cuda_by_triton() -> None:
    """Registers the Triton launchers for CUDA tensors (ROCm's GPUs go by that name too)."""
    for page in sorted((_FOLDER / "ops").glob("*.py")):
        for op in (page.stem, f"{page.stem}_backward"):
            if hasattr(torch.ops.yolox_ops, op):
                torch.library.register_kernel(f"yolox_ops::{op}", "cuda", _triton_launcher(op))


def register_cuda() -> None:
    """To be called once the ops are defined: Triton claims CUDA only where the library does not serve it."""
    if _SERVER == "triton":
        serve_cuda_by_triton()


def _cpu_fact(symbol: str) -> str:
    function = getattr(ctypes.CDLL(str(_CPU)), symbol)
    function.restype = ctypes.c_char_p
    return function().decode()


def _library_facts() -> str:
    """Read from the file, as a CPU-only torch cannot load it."""
    if not _CUDA.is_file():
        return "built without nvcc"
    found = re.search(rb"(nvcc [\d.]+), compiled for ([\d,]+)", _CUDA.read_bytes())
    if not found:
        return "_C_cuda.so, of an unknown build"
    archs = ", ".join(f"sm_{arch[:-1]}" for arch in found[2].decode().split(","))  # nvcc writes 900 for sm_90
    return f"_C_cuda.so, {found[1].decode()}, compiled for {archs}"


def _cuda_facts() -> str:
    if _SERVER == "library":
        return f"CUDA C++ ({_library_facts()})"
    if _SERVER == "triton":
        return f"Triton {version('triton')} ({_library_facts()})"
    reason = "neither _C_cuda.so nor Triton" if torch.version.cuda or torch.version.hip else "this torch is CPU-only"
    return f"none: {reason} ({_library_facts()})"


def _numpy_facts() -> str:
    """Told by the file, as its import is yolox_ops.numpy's matter."""
    found = next(_FOLDER.glob("_numpy.*.so"), None)
    return f"C++ ({found.name})" if found else "built without Python.h"


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
        "numpy": _numpy_facts(),
    }
