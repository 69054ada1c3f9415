"""Builds _C_emulated.so, the CUDA kernels compiled for the CPU against this folder's cuda_runtime.h:
python tests/emulator/build.py FOLDER. setup.py's environment holds here too."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import setup  # noqa: E402  it is read as a module, and builds nothing by itself

FLAGS = "-Itests/emulator -U_FORTIFY_SOURCE -Wno-sign-compare -Wno-unknown-pragmas -x c++"


def main(folder: str) -> None:
    kernels = [source for source in setup.sources(".cu") if not source.endswith("build_info.cu")]
    torch = setup.find_torch()
    if torch is None:
        sys.exit("emulator: torch 2.11 or newer is needed to compile against")
    setup.build_library(Path(folder, "_C_emulated.so").resolve(), kernels, torch, os.environ.get("CXX", "c++"), FLAGS)


if __name__ == "__main__":
    main(*sys.argv[1:])
