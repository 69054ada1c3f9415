// Running sums over a warp and over a block; each includes the value of its own thread.
#pragma once

#include "core/device.cuh"

namespace yolox_ops {
namespace {

template <class V>
__device__ __forceinline__ V warp_scan(V value) {
  const int lane = threadIdx.x % 32;
  for (int step = 1; step < 32; step *= 2) {
    const V other = __shfl_up_sync(kAllLanes, value, step);
    if (lane >= step) value += other;
  }
  return value;
}

// Every thread of the block must call it; `total` receives the sum over all.
template <int threads>
__device__ __forceinline__ uint64_t block_scan(uint64_t value, uint64_t& total) {
  constexpr int kWarps = threads / 32;
  __shared__ uint64_t of_warp[kWarps];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  value = warp_scan(value);
  __syncthreads();  // until the call before is read
  if (lane == 31) of_warp[warp] = value;
  __syncthreads();
  const uint64_t warps = warp_scan(lane < kWarps ? of_warp[lane] : 0);
  total = __shfl_sync(kAllLanes, warps, kWarps - 1);
  const uint64_t before = __shfl_sync(kAllLanes, warps, max(warp - 1, 0));
  return value + (warp > 0 ? before : 0);
}

}  // namespace
}  // namespace yolox_ops
