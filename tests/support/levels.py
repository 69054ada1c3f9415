"""The built CPU libraries at each level of instructions that this machine has: copies in which the resolvers of
YOLOX_OPS_SIMD (csrc/core/simd.h) always choose that level. All else of a copy is the library's, byte for byte."""

import functools
import importlib.machinery
import importlib.util
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

import yolox_ops

FOLDER = Path(yolox_ops.__file__).parent
# What g++ adds to the name of a function compiled for a level.
CLONES = {"baseline": "default", "x86-64-v3": "arch_x86_64_v3", "x86-64-v4": "arch_x86_64_v4"}
OWN = yolox_ops.build_info()["simd"].partition(" ")[0]
LEVELS = list(CLONES)[: list(CLONES).index(OWN) + 1]


def _choices(library: Path, level: str) -> list[tuple[int, int]]:
    """(address of a resolver, address of what it is to choose), by the table of symbols: the functions of one source
    follow its name, and names repeat among sources."""
    table = subprocess.run(["readelf", "-sW", library], capture_output=True, text=True, check=True).stdout
    found, functions = [], {}
    for fields in map(str.split, [*table.splitlines(), "0: 0 0 FILE LOCAL DEFAULT ABS end"]):
        if fields[3:4] == ["FILE"]:
            for name, address in functions.items():
                if name.endswith(".resolver"):
                    found.append((address, functions[name.removesuffix("resolver") + CLONES[level]]))
            functions = {}
        elif fields[3:4] == ["FUNC"]:
            functions[fields[7]] = int(fields[1], 16)
    return found


def _at_level(library: Path, level: str) -> bytearray:
    """The library with `return choice` in every resolver."""
    image = bytearray(library.read_bytes())
    (headers,), size, count = struct.unpack_from("<Q", image, 32), *struct.unpack_from("<HH", image, 54)
    loaded = []  # what is loaded of the file: its offset there, its address, its size
    for i in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", image, headers + i * size)
        if kind == 1:
            loaded.append((offset, address, length))
    choices = _choices(library, level)
    assert choices or OWN == "baseline", f"{library} has no function that is compiled for levels"
    for resolver, choice in choices:
        (offset,) = (offset + resolver - start for offset, start, length in loaded if 0 <= resolver - start < length)
        # lea rax, [rip + distance]; ret
        image[offset : offset + 8] = b"\x48\x8d\x05" + struct.pack("<i", choice - (resolver + 7)) + b"\xc3"
    return image


def _load(image: bytes, load: Callable, name: str):
    """Once loaded a library needs its file no more."""
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder) / name).write_bytes(image)
        return load(path)


@functools.cache
def _load_ops(level: str) -> str:
    """Registers _C.so at a level as ops of another namespace for CPU tensors, whose name is as long."""
    namespace = f"yolox_lv{list(CLONES).index(level)}"
    image = _at_level(FOLDER / "_C.so", level)
    assert image.count(b"\0yolox_ops\0") == 1
    _load(image.replace(b"\0yolox_ops\0", b"\0%b\0" % namespace.encode()), torch.ops.load_library, f"_C_{level}.so")
    return namespace


def kernels_of(level: str) -> Callable[[str], Callable]:
    """The kernel of an op at that level, by the op's name, for ServedBy."""
    namespace = getattr(torch.ops, _load_ops(level))
    return lambda op: getattr(namespace, op)


@functools.cache
def numpy_of(level: str) -> ModuleType:
    """yolox_ops._numpy at that level."""

    def load(path: Path) -> ModuleType:
        loader = importlib.machinery.ExtensionFileLoader("yolox_ops._numpy", str(path))
        spec = importlib.util.spec_from_file_location("yolox_ops._numpy", path, loader=loader)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    (library,) = FOLDER.glob("_numpy.*.so")
    return _load(_at_level(library, level), load, library.name)
