"""Builds yolox_ops/_C.so from csrc/cpu and, where nvcc is found, yolox_ops/_C_cuda.so from csrc/cuda, with ninja.

Environment: CXX, CUDA_HOME, YOLOX_OPS_CUDA_ARCHS ("90" or "80 90"), YOLOX_OPS_CXXFLAGS (added last).
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

TARGET = "-DTORCH_TARGET_VERSION=0x020b000000000000"  # torch 2.11: one build serves it and everything after
CUDA_ARCHS = ("75", "80", "86", "89", "90", "100", "120")
# No contraction and no fast-math: every instruction set gives the same bits, and NaN means NaN.
CXXFLAGS = "-std=c++20 -O3 -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wno-psabi"
NVCCFLAGS = "-std=c++20 -O3 -DUSE_CUDA --fmad=false --expt-relaxed-constexpr -Xcompiler -fPIC,-fvisibility=hidden"
BUILD = Path("build/native")


def find_torch() -> Path | None:
    """The folder of the newest usable torch: the target environment's, else one that this build brought."""
    for root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *sys.path):
        version = Path(root) / "torch/version.py"
        found = re.search(r"__version__ = '(\d+)\.(\d+)", version.read_text()) if version.is_file() else None
        if found and (int(found[1]), int(found[2])) >= (2, 11):
            return version.parent
    return None


def find_nvcc() -> str | None:
    home = os.environ.get("CUDA_HOME")
    return shutil.which("nvcc", path=f"{home}/bin") if home else shutil.which("nvcc")


def gencode(nvcc: str) -> str:
    """Machine code for every architecture that this toolkit knows, and PTX of the last for those to come."""
    known = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout.split()
    wanted = os.environ.get("YOLOX_OPS_CUDA_ARCHS", "").replace(",", " ").split() or CUDA_ARCHS
    archs = [a for a in wanted if f"compute_{a}" in known]
    if not archs:
        sys.exit(f"yolox_ops: {nvcc} knows none of the architectures {' '.join(wanted)}")
    codes = [f"-gencode arch=compute_{a},code=sm_{a}" for a in archs]
    return " ".join([*codes, f"-gencode arch=compute_{archs[-1]},code=compute_{archs[-1]}"])


class NinjaBuild(build_ext):
    """One ninja file for the library at hand; ninja compiles what changed, headers included."""

    def get_ext_filename(self, name):
        return name.replace(".", "/") + ".so"

    def build_extension(self, ext):
        from ninja import ninja_syntax

        torch, cxx = find_torch(), shutil.which(os.environ.get("CXX", "c++"))
        if torch is None:
            sys.exit("yolox_ops: torch 2.11 or newer is needed to compile against: pip install 'torch>=2.11'")
        if cxx is None:
            sys.exit("yolox_ops: no C++ compiler found: install g++ 11 or newer (Debian: apt install g++) or set CXX")
        output = Path(self.get_ext_fullpath(ext.name)).resolve()
        output.parent.mkdir(parents=True, exist_ok=True)
        BUILD.mkdir(parents=True, exist_ok=True)
        plan = BUILD / f"{output.stem}.ninja"
        with open(plan, "w") as file:
            ninja = ninja_syntax.Writer(file)
            cflags = f"{TARGET} -I{torch}/include {CXXFLAGS} {os.environ.get('YOLOX_OPS_CXXFLAGS', '')}"
            ninja.rule("cxx", f"{cxx} -MMD -MF $out.d {cflags} -c $in -o $out", depfile="$out.d", deps="gcc")
            libs = f"-L{torch}/lib -ltorch_cpu"
            if ext.name.endswith("_cuda"):
                nvcc = find_nvcc()
                flags = f"{TARGET} -I{torch}/include {NVCCFLAGS} {gencode(nvcc)}"
                ninja.rule("nvcc", f"{nvcc} -ccbin {cxx} -MD -MF $out.d {flags} -c $in -o $out", depfile="$out.d", deps="gcc")
                # A stand-in by the name of torch's CUDA library, so that a machine with CPU torch can link against it.
                stub, link = BUILD / "libtorch_cuda.so", f"{nvcc} -ccbin {cxx} -shared $in -o $out $libs"
                ninja.rule("stub", f"{cxx} -shared -Wl,-soname,libtorch_cuda.so -x c++ /dev/null -o $out")
                ninja.build(str(stub), "stub")
                libs += f" -L{BUILD} -Xlinker --no-as-needed -ltorch_cuda"
            else:
                stub, link = None, f"{cxx} -shared {os.environ.get('YOLOX_OPS_CXXFLAGS', '')} $in -o $out $libs"
            ninja.rule("link", link)
            objects = [
                ninja.build(f"{BUILD}/{s}.o", "nvcc" if s.endswith(".cu") else "cxx", s)[0] for s in ext.sources
            ]
            ninja.build(str(output), "link", objects, implicit=stub and str(stub), variables={"libs": libs})
        print(f"yolox_ops: building {output.name} from {', '.join(ext.sources)} against {torch}", flush=True)
        if subprocess.run([sys.executable, "-m", "ninja", "-f", str(plan)]).returncode:
            sys.exit(f"yolox_ops: {output.name} did not compile; the compiler's own words stand above")


def extensions() -> list[Extension]:
    found = [Extension("yolox_ops._C", sorted(map(str, Path("csrc/cpu").glob("*.cpp"))))]
    if find_nvcc():
        found.append(Extension("yolox_ops._C_cuda", sorted(map(str, Path("csrc/cuda").glob("*.cu")))))
    else:
        print("yolox_ops: no nvcc (CUDA_HOME, PATH): building without CUDA C++; Triton serves GPUs", flush=True)
    return found


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": NinjaBuild},
    setup_requires=[] if find_torch() else ["torch>=2.11"],
)
