// CUDA's runtime as far as the .cu files use it, on the CPU: the kernels themselves run in the tests without a GPU. Thread
// after thread of a block runs as a fiber until it waits for others, and a warp as far ahead as it can. This shows
// wrong answers, wrong barriers (a block in which nobody can go on is an error) and most missing ones (every second
// block runs its threads backwards). It does not show what depends on a GPU's memory model or on blocks that run at the
// same time.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

// Small, so that the steps beyond a grid are tested too.
#define YOLOX_OPS_MAX_GRID 5

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

using cudaStream_t = void*;
using cudaError_t = int;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

using std::max;
using std::min;

namespace emulator {

// Where fibers of one block, or the lanes of one mask, meet and leave a value for each other.
struct Meeting {
  uint32_t arrived = 0, generation = 0;
  std::vector<uint64_t> brought, taken;
};

struct Fiber {
  std::unique_ptr<char[]> stack;
  ucontext_t start = {};
  jmp_buf context = {};
  bool begun = false, done = false;
};

class Block {
 public:
  void run(unsigned threads, bool backwards, const std::function<void()>& kernel) {
    kernel_ = &kernel;
    meetings_.clear();
    common_.assign(kCommon, {});
    while (fibers_.size() < threads) fibers_.push_back({std::make_unique<char[]>(kStack)});
    for (Fiber& fiber : fibers_) fiber.done = false;
    for (unsigned left = threads; left > 0;) {
      const unsigned before = left;
      bool any_progress = false;
      for (unsigned first = 0; first < threads; first += 32) {
        do {  // a warp runs ahead as far as it can
          progress_ = false;
          for (unsigned i = first; i < std::min(first + 32, threads); ++i) {
            now_ = backwards ? threads - 1 - i : i;
            if (fibers_[now_].done) continue;
            resume(fibers_[now_]);
            left -= fibers_[now_].done;
          }
          any_progress |= progress_;
        } while (progress_);
      }
      if (!any_progress && left == before) {
        throw std::runtime_error("emulator: the threads of a block wait for each other in vain");
      }
    }
  }

  // Waits until `count` threads have come to the meeting `key`; returns what they brought, by `slot` of `slots`.
  const uint64_t* meet(uint64_t key, uint32_t count, uint32_t slots, uint32_t slot, uint64_t value) {
    Meeting& meeting = key < kCommon ? common_[key] : meetings_[key];
    meeting.brought.resize(slots);
    meeting.brought[slot] = value;
    progress_ = true;
    if (++meeting.arrived == count) {
      meeting.taken = meeting.brought;
      meeting.arrived = 0;
      ++meeting.generation;
      yield();  // the last to come is not the first to go
    } else {
      for (const uint32_t now = meeting.generation; meeting.generation == now;) yield();
    }
    return meeting.taken.data();
  }

  void yield() {
    Fiber& fiber = fibers_[now_];
    if (_setjmp(fiber.context) == 0) _longjmp(scheduler_, 1);
  }

 private:
  static constexpr size_t kStack = 1 << 16;
  static constexpr uint64_t kCommon = 33;

  void resume(Fiber& fiber) {
    threadIdx = dim3(now_, 0, 0);
    if (_setjmp(scheduler_) != 0) return;
    if (fiber.begun) _longjmp(fiber.context, 1);
    fiber.begun = true;
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = fiber.stack.get();
    fiber.start.uc_stack.ss_size = kStack;
    makecontext(&fiber.start, &Block::body, 0);
    setcontext(&fiber.start);
  }

  static void body();

  std::vector<Fiber> fibers_;
  std::vector<Meeting> common_;  // of the block and of whole warps
  std::map<uint64_t, Meeting> meetings_;
  const std::function<void()>* kernel_ = nullptr;
  jmp_buf scheduler_;
  unsigned now_ = 0;
  bool progress_ = false;
};

inline Block block;

// A fiber outlives its block and serves the next.
inline void Block::body() {
  for (;;) {
    (*block.kernel_)();
    block.fibers_[block.now_].done = true;
    block.yield();
  }
}

inline const uint64_t* meet_block(uint64_t value) { return block.meet(0, blockDim.x, blockDim.x, threadIdx.x, value); }

inline const uint64_t* meet_warp(uint32_t mask, uint64_t value) {
  const uint64_t warp = threadIdx.x / 32 + 1;
  const uint64_t key = mask == 0xffffffffu ? warp : warp << 32 | mask;
  return block.meet(key, std::popcount(mask), 32, threadIdx.x % 32, value);
}

template <class T>
T shuffle(uint32_t mask, T value, uint32_t source) {
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  std::memcpy(&value, &meet_warp(mask, word)[source], sizeof value);
  return value;
}

}  // namespace emulator

template <class... Params, class... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Params...), Args... args) {
  gridDim = config->gridDim;
  blockDim = config->blockDim;
  const std::function<void()> call = [&] { kernel(static_cast<Params>(args)...); };
  bool backwards = false;
  for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z) {
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y) {
      for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
        emulator::block.run(blockDim.x, backwards, call);
        backwards = !backwards;
      }
    }
  }
  return 0;
}

inline void __syncthreads() { emulator::meet_block(0); }
inline int __syncthreads_count(int vote) {
  const uint64_t* votes = emulator::meet_block(vote != 0);
  return static_cast<int>(std::count(votes, votes + blockDim.x, uint64_t{1}));
}
inline int __syncthreads_or(int vote) { return __syncthreads_count(vote) > 0; }
inline void __syncwarp(uint32_t mask = 0xffffffffu) { emulator::meet_warp(mask, 0); }
inline uint32_t __ballot_sync(uint32_t mask, int vote) {
  const uint64_t* votes = emulator::meet_warp(mask, vote != 0);
  uint32_t bits = 0;
  for (uint32_t lane = 0; lane < 32; ++lane) bits |= static_cast<uint32_t>(mask >> lane & votes[lane] & 1) << lane;
  return bits;
}
template <class T>
T __shfl_sync(uint32_t mask, T value, int lane, int width = 32) {
  const uint32_t first = threadIdx.x % 32 / width * width;
  return emulator::shuffle(mask, value, first + lane % width);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int step) {
  return emulator::shuffle(mask, value, threadIdx.x % 32 ^ step);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned step) {
  const uint32_t lane = threadIdx.x % 32;
  return emulator::shuffle(mask, value, lane < step ? lane : lane - step);
}

inline int __popc(uint32_t bits) { return std::popcount(bits); }
inline int __ffs(uint32_t bits) { return bits ? std::countr_zero(bits) + 1 : 0; }

template <class T>
T atomicAdd(T* address, T value) {
  const T before = *address;
  *address += value;
  return before;
}
template <class T>
T atomicExch(T* address, T value) {
  return std::exchange(*address, value);
}
template <class T>
T atomicCAS(T* address, T expected, T value) {
  const T before = *address;
  if (before == expected) *address = value;
  return before;
}
