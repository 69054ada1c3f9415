"""Every allocation of every kernel fails once: the call ends with a MemoryError, whichever thread asked, and the next
call is right. A library that comes before C++'s own counts what a kernel asks for, and denies it once."""

import ctypes
import itertools
import subprocess
from pathlib import Path

import pytest
import torch
from arrays import in_a_new_process
from cases import make_cases

TESTS = Path(__file__).parents[1]
DENIER = """
#include <unistd.h>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

static std::atomic<uintptr_t> first{0}, last{0};  // where the code lies that is watched
static std::atomic<int64_t> left{-1}, asked{0}, asked_by_threads{0};

extern "C" void watch(uintptr_t begin, uintptr_t end) {
  first = begin;
  last = end;
}
extern "C" void deny(int64_t request) {
  left = request;
  asked = 0;
  asked_by_threads = 0;
}
extern "C" int64_t requests() { return asked; }
extern "C" int64_t requests_of_threads() { return asked_by_threads; }

static void* get(std::size_t size, void* caller) {
  const auto address = reinterpret_cast<uintptr_t>(caller);
  if (address >= first && address < last) {
    ++asked;
    asked_by_threads += getpid() != gettid();
    if (left-- == 0) throw std::bad_alloc();
  }
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}

void* operator new(std::size_t size) { return get(size, __builtin_return_address(0)); }
void* operator new[](std::size_t size) { return get(size, __builtin_return_address(0)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
"""
NAMES = ("simota", "simota_cost", "dynamic_k_match", "ota", "sinkhorn", "soft_nms gaussian", "soft_nms of one label")
NAMES += ("pairwise_iou ciou", "aligned_iou ciou", "numpy pairwise_iou", "numpy soft_nms of one label")


def find_addresses(library: str) -> tuple[int, int]:
    """The addresses between which a loaded library lies."""
    with open("/proc/self/maps") as lines:
        spans = [line.split()[0].split("-") for line in lines if library in line]
    return int(spans[0][0], 16), int(spans[-1][1], 16)


def deny_all() -> None:
    """Runs under the denier; prints how many requests were denied, and how many threads made of a call on arrays."""
    denier = ctypes.CDLL(None)
    denier.watch.argtypes, denier.deny.argtypes = [ctypes.c_size_t] * 2, [ctypes.c_int64]
    torch.set_num_threads(2)
    cases, denied, of_threads = make_cases(torch.float32), 0, 0
    for name in NAMES:
        on_arrays = name.startswith("numpy")
        denier.watch(*find_addresses("/yolox_ops/_numpy." if on_arrays else "/yolox_ops/_C.so"))
        answer = cases[name].answer()
        denier.deny(-1)
        assert cases[name].answer() == answer
        of_threads += on_arrays and denier.requests_of_threads()
        for request in itertools.count():
            denier.deny(request)
            try:
                found = cases[name].answer()
            except MemoryError as error:
                assert "bad_alloc" in str(error), name
                denied += 1
            else:
                # Which thread does how much, and so how often it asks, is another in each call.
                assert denier.requests() <= request and found == answer, (name, request)
                break
            finally:
                denier.deny(-1)
            assert cases[name].answer() == answer, (name, request)
        assert request > 5, name
    print(denied, of_threads)


@pytest.mark.plain
def test_denied_memory(tmp_path):
    (tmp_path / "denier.cpp").write_text(DENIER)
    library = tmp_path / "denier.so"
    subprocess.run(["g++", "-shared", "-fPIC", "-o", library, tmp_path / "denier.cpp"], check=True)
    code = f"import sys; sys.path[:0] = [{str(TESTS.parent)!r}, {str(TESTS / 'support')!r}, {str(TESTS / 'ops')!r}]; "
    code += "import test_out_of_memory; test_out_of_memory.deny_all()"
    run = in_a_new_process(code, LD_PRELOAD=str(library), YOLOX_OPS_NUM_THREADS="2")
    denied, of_threads = map(int, run.stdout.split())
    assert denied > 500
    # A thread that has just begun may not even have room for what it throws; torch's threads live on and have.
    assert of_threads == 0
