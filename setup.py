"""Builds with ninja yolox_ops/_C.so from the .cpp files of csrc's families, yolox_ops/_numpy.*.so from csrc/numpy,
which knows nothing of torch, and, where nvcc is found, yolox_ops/_C_cuda.so from the .cu files.

Environment: CXX, CUDA_HOME ("" for no CUDA), YOLOX_OPS_CUDA_ARCHS ("90" or "80 90"), YOLOX_OPS_CXXFLAGS (added last,
where the C++ compiler runs), YOLOX_OPS_BUILD (folder of the object files).
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from ninja import ninja_syntax
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

TARGET = "-DTORCH_TARGET_VERSION=0x020b000000000000"  # torch 2.11: one build serves it and everything after
CUDA_ARCHS = ("75", "80", "86", "89", "90", "100", "120")
# No contraction and no fast-math: every instruction set gives the same bits, and NaN means NaN.
CXXFLAGS = "-std=c++20 -O3 -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall"
NVCCFLAGS = (
    "-std=c++20 -O3 -DUSE_CUDA --fmad=false --expt-relaxed-constexpr -Xptxas -v -Xcompiler -fPIC,-fvisibility=hidden"
)
BUILD = Path(os.environ.get("YOLOX_OPS_BUILD", "build/native"))


def find_torch() -> Path | None:
    """The folder of the first torch that is new enough: the target environment's, or one that this build brought."""
    for root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *sys.path):
        version = Path(root) / "torch/version.py"
        found = re.search(r"__version__ = '(\d+)\.(\d+)", version.read_text()) if version.is_file() else None
        if found and (int(found[1]), int(found[2])) >= (2, 11):
            return version.parent
    return None


def find_nvcc() -> str | None:
    home = os.environ.get("CUDA_HOME")
    return shutil.which("nvcc") if home is None else shutil.which("nvcc", path=f"{home}/bin")


def gencode(nvcc: str) -> str:
    """Machine code for the architectures asked for, or for those of CUDA_ARCHS that this toolkit knows, and PTX of the
    last for GPUs to come."""
    known = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout.split()
    wanted = os.environ.get("YOLOX_OPS_CUDA_ARCHS", "").replace(",", " ").split()
    unknown = [a for a in wanted if f"compute_{a}" not in known]
    archs = wanted or [a for a in CUDA_ARCHS if f"compute_{a}" in known]
    if unknown or not archs:
        sys.exit(f"yolox_ops: {nvcc} does not know the architectures {' '.join(unknown or CUDA_ARCHS)}")
    codes = [f"-gencode arch=compute_{a},code=sm_{a}" for a in archs]
    return " ".join([*codes, f"-gencode arch=compute_{archs[-1]},code=compute_{archs[-1]}"])


def find_pybind11(torch: Path) -> Path:
    """The folder of its headers: of the package, or of the copy in torch, for a machine without network."""
    spec = importlib.util.find_spec("pybind11")
    return Path(spec.origin).parent / "include" if spec and spec.origin else torch / "include"


def write_plan(plan: Path, output: Path, sources: list[str], torch: Path, cxx: str, flags: str = "") -> None:
    """The ninja file that turns sources into one library; objects depend on the headers that the compilers saw."""
    name = output.name.partition(".")[0]
    include, lib = [f"{torch}/include"], shlex.quote(f"-L{torch}/lib")
    extra = os.environ.get("YOLOX_OPS_CXXFLAGS", "")
    nvcc = find_nvcc() if name == "_C_cuda" else None
    with open(plan, "w") as file:
        ninja = ninja_syntax.Writer(file, width=1000)
        ninja.variable("builddir", BUILD)
        if nvcc is None:
            compiler, libs, stub = f"{cxx} {CXXFLAGS} {extra} {flags}", f"{lib} -ltorch_cpu", None
            link, report = f"{cxx} {extra}", ""
        else:
            # A stand-in by the name of torch's CUDA library, so that a machine with CPU torch can link against it.
            stub = f"{BUILD}/libtorch_cuda.so"
            ninja.rule("stub", f"{cxx} -shared -Wl,-soname,libtorch_cuda.so -x c++ /dev/null -o $out")
            ninja.build(stub, "stub")
            host = [word for word in shlex.split(cxx) if not word.startswith("-")][-1]
            link = f"{shlex.quote(nvcc)} -ccbin {shlex.quote(host)}"
            compiler = f"{link} {NVCCFLAGS} {gencode(nvcc)}"
            libs = f"{lib} -ltorch_cpu -L{BUILD} -Xlinker --no-as-needed -ltorch_cuda"
            # What ptxas says of registers and spills is kept beside the object, for tests/ops/test_cuda_build.py.
            report = "2> $out.ptxas; status=$$?; grep -v '^ptxas info' $out.ptxas >&2; exit $$status"
        if name == "_numpy":
            include, libs = [sysconfig.get_path("include"), find_pybind11(torch)], "-pthread"
        includes = " ".join(shlex.quote(f"-I{folder}") for folder in ["csrc", *include])
        ninja.rule(
            "compile",
            f"{compiler} {TARGET} {includes} -MD -MF $out.d -c $in -o $out {report}",
            depfile="$out.d",
            deps="gcc",
        )
        ninja.rule("link", f"{link} -shared $in -o $out {libs}")
        objects = [
            ninja.build(f"{BUILD}/{output.stem}/{Path(source).name}.o", "compile", source)[0] for source in sources
        ]
        ninja.build(ninja_syntax.escape_path(str(output)), "link", objects, implicit=stub)


class NinjaBuild(build_ext):
    """Builds an extension by ninja, which compiles what has changed, in parallel."""

    def get_ext_filename(self, name):
        folders = name.replace(".", "/")
        return folders + (sysconfig.get_config_var("EXT_SUFFIX") if folders.endswith("_numpy") else ".so")

    def build_extension(self, ext):
        torch, cxx = find_torch(), os.environ.get("CXX", "c++")
        if torch is None:
            sys.exit("yolox_ops: torch 2.11 or newer is needed to compile against: pip install 'torch>=2.11'")
        if shutil.which(shlex.split(cxx)[0]) is None:
            sys.exit(
                f"yolox_ops: no C++ compiler {cxx!r}: install g++ 12 or newer (Debian: apt install g++) or set CXX"
            )
        build_library(Path(self.get_ext_fullpath(ext.name)).resolve(), ext.sources, torch, cxx)


def build_library(output: Path, sources: list[str], torch: Path, cxx: str, flags: str = "") -> None:
    plan = BUILD / f"{output.stem}.ninja"
    for folder in (output.parent, BUILD):
        folder.mkdir(parents=True, exist_ok=True)
    write_plan(plan, output, sources, torch, cxx, flags)
    print(f"yolox_ops: building {output.name} from {', '.join(sources)} against {torch}", flush=True)
    if subprocess.run([sys.executable, "-m", "ninja", "-f", plan]).returncode:
        sys.exit(f"yolox_ops: {output.name} did not compile; the compiler's own words stand above")


def sources(suffix: str) -> list[str]:
    """Those of every family that torch loads."""
    return sorted(str(path) for path in Path("csrc").glob(f"*/*{suffix}") if path.parent.name != "numpy")


def extensions() -> list[Extension]:
    found = [Extension("yolox_ops._C", sources(".cpp"))]
    if Path(sysconfig.get_path("include"), "Python.h").is_file():
        found.append(Extension("yolox_ops._numpy", ["csrc/numpy/bindings.cpp"]))
    else:
        print("yolox_ops: no Python.h (Debian: apt install python3-dev): building without yolox_ops.numpy", flush=True)
    if find_nvcc():
        found.append(Extension("yolox_ops._C_cuda", sources(".cu")))
    else:
        print("yolox_ops: no nvcc (CUDA_HOME, PATH): building without CUDA C++", flush=True)
    return found


def description() -> str:
    """README.md for an index page, which shows neither the repository's pictures nor its other files."""
    text = Path("README.md").read_text()
    text = re.sub(r"<picture>.*?</picture>\n+", "", text, flags=re.DOTALL)
    text = re.sub(r"!\[([^]]*)\]\((?!https?:)([^)]*)\)", r"*\1 (\2)*", text)
    return re.sub(r"\[([^]]*)\]\((?!https?:|#)[^)]*\)", r"\1", text)


if __name__ == "__main__":
    setup(
        long_description=description(),
        long_description_content_type="text/markdown",
        ext_modules=extensions(),
        cmdclass={"build_ext": NinjaBuild},
        setup_requires=[] if find_torch() else ["torch>=2.11"],
    )
