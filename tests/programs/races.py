"""Runs every op, and every function on arrays, under ThreadSanitizer. Fails where two threads race.

    YOLOX_OPS_BUILD=build/native-threads YOLOX_OPS_CXXFLAGS="-fsanitize=thread -DYOLOX_OPS_ONE_LEVEL -O1 -g1" \\
        CUDA_HOME= python setup.py -q build --build-lib build/threads
    PYTHONPATH=.:tests/support python tests/programs/races.py build/threads

OpenMP waits in ways that ThreadSanitizer does not see, and would report every loop. So the libraries that it watches
get their parallel loops from a stand-in for torch's function, which starts threads that it does see."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
THREADS = 4
STAND_IN = """
#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

constexpr int64_t kThreads = THREADS;

extern "C" int32_t torch_get_num_threads(uint32_t* count) {
  *count = kThreads;
  return 0;
}

extern "C" int32_t torch_parallel_for(int64_t begin, int64_t end, int64_t grain, void (*work)(int64_t, int64_t, void*),
                                      void* context) {
  static thread_local bool nested = false;
  const int64_t size = std::max({grain, int64_t{1}, (end - begin + kThreads - 1) / kThreads});
  if (nested || size >= end - begin) {
    if (begin < end) work(begin, end, context);
    return 0;
  }
  std::vector<std::jthread> threads;
  for (int64_t first = begin; first < end; first += size) {
    threads.emplace_back([=] {
      nested = true;
      work(first, std::min(first + size, end), context);
    });
  }
  return 0;
}
"""


def call_everything() -> None:
    import torch
    from cases import make_cases

    torch.set_num_threads(1)  # torch's own loops stay out of it
    calls = 0
    for dtype in (torch.float32, torch.float64):
        for case in make_cases(dtype).values():
            assert case.answer() == case.answer()
            calls += 2
    print(f"{calls} calls with {THREADS} threads, no race")


def main(folder: str) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        source, library = Path(scratch) / "stand_in.cpp", Path(scratch) / "stand_in.so"
        source.write_text(STAND_IN.replace("THREADS", str(THREADS)))
        compiler = ["g++", "-std=c++20", "-O1", "-shared", "-fPIC", "-fsanitize=thread"]
        subprocess.run([*compiler, "-o", library, source], check=True)
        sanitizer = subprocess.run(["g++", "-print-file-name=libtsan.so"], capture_output=True, text=True, check=True)
        environment = {
            "LD_PRELOAD": f"{sanitizer.stdout.strip()} {library}",
            "TSAN_OPTIONS": "ignore_noninstrumented_modules=1 exitcode=66",
            "PYTHONPATH": os.pathsep.join(
                map(str, [Path(folder).resolve(), TESTS.parent, TESTS / "support", TESTS / "programs"])
            ),
            "YOLOX_OPS_NUM_THREADS": str(THREADS),
        }
        # Without addresses drawn at random, among which there may be none left for the sanitizer.
        command = ["setarch", "-R", sys.executable, "-c", "import races; races.call_everything()"]
        return subprocess.run(command, cwd=scratch, env={**os.environ, **environment}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
