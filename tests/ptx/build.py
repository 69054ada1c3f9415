"""Builds into build/ptx/ the simulator, an allocator for torch, and, where nvcc is found, the CUDA kernels as PTX with
the host code that launches them: python tests/ptx/build.py. CXX and CUDA_HOME hold as for setup.py, YOLOX_OPS_CXXFLAGS
for that host code; YOLOX_OPS_PTX_BUILD names another folder."""

import os
import subprocess
import sys
from pathlib import Path

from ninja import ninja_syntax

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / os.environ.get("YOLOX_OPS_PTX_BUILD", "build/ptx")
# Products and sums stay apart, and signed integers wrap, as on the machine that is simulated.
CXXFLAGS = "-std=c++20 -O3 -march=native -fPIC -ffp-contract=off -fwrapv -fno-math-errno -fno-trapping-math -Wall"
HERE = "tests/ptx"


def main() -> None:
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    import setup  # it is read as a module, and builds nothing by itself

    torch = setup.find_torch()
    if torch is None:
        sys.exit("tests/ptx: torch 2.11 or newer is needed to compile against")
    nvcc = setup.find_nvcc()
    if nvcc is None:
        print("tests/ptx: no nvcc (CUDA_HOME, PATH): the CUDA kernels are left out, Triton's are not")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with open(OUTPUT / "build.ninja", "w") as file:
        write_plan(ninja_syntax.Writer(file, width=1000), setup, torch, nvcc)
    if subprocess.run([sys.executable, "-m", "ninja", "-f", OUTPUT / "build.ninja"]).returncode:
        sys.exit("tests/ptx: the simulator did not compile; the compiler's own words stand above")


def write_plan(ninja: ninja_syntax.Writer, setup, torch: Path, nvcc: str | None) -> None:
    cxx = os.environ.get("CXX", "c++")
    ninja.variable("builddir", OUTPUT)
    ninja.rule("cxx", f"{cxx} {CXXFLAGS} $flags -MD -MF $out.d -c $in -o $out", depfile="$out.d", deps="gcc")
    ninja.rule("link", f"{cxx} -shared $in -o $out $libraries")

    def library(name: str, objects: list[str], libraries: str = "", needs: tuple[Path, ...] = ()) -> Path:
        output = OUTPUT / name
        ninja.build(str(output), "link", objects, [str(need) for need in needs], variables={"libraries": libraries})
        return output

    def compile_cxx(source: str, flags: str = "") -> str:
        return ninja.build(f"{OUTPUT}/{Path(source).name}.o", "cxx", source, variables={"flags": flags})[0]

    simulator = library("libsimulator.so", [compile_cxx(str(s)) for s in sorted(Path(HERE).glob("simulator/*.cpp"))])
    libraries = f"-L{torch}/lib -lc10 -L{OUTPUT} -lsimulator -Wl,-rpath,{OUTPUT}"
    library("liballocator.so", [compile_cxx(f"{HERE}/allocator.cpp", f"-I{torch}/include")], libraries, (simulator,))
    if nvcc is None:
        return
    # What is shipped for GPUs to come, uncompressed: the host code hands it to the runtime, which is ours.
    of_host = " ".join(f"-Xcompiler '{flag}'" for flag in os.environ.get("YOLOX_OPS_CXXFLAGS", "-O1").split())
    of_host = of_host.replace(",", "\\,")  # which separates nvcc's own lists of flags
    flags = f"{setup.NVCCFLAGS} {of_host} -gencode arch=compute_90,code=compute_90 --no-compress {setup.TARGET}"
    folders = f"-I{HERE}/include -Icsrc -I{torch}/include"
    ninja.rule("nvcc", f"{nvcc} {flags} {folders} -MD -MF $out.d -c $in -o $out", depfile="$out.d", deps="gcc")
    kernels = [source for source in setup.sources(".cu") if not source.endswith("build_info.cu")]
    sources = [*kernels, f"{HERE}/runtime.cpp"]
    objects = [ninja.build(f"{OUTPUT}/{Path(source).name}.o", "nvcc", source)[0] for source in sources]
    library("_C_simulated.so", objects, f"-L{torch}/lib -ltorch_cpu")


if __name__ == "__main__":
    main()
