// The first few of the items that a warp is shown, in order: lane i holds number i. An item takes a few dozen
// operations where it is among the first so far, and part of one vote where it is not.
#pragma once

#include <bit>
#include <limits>

#include "core/device.cuh"

namespace yolox_ops {
namespace {

// As many as a warp can hold.
constexpr int kMostLeaders = 32;

// A key that orders as pairs are preferred by their cost: numbers, zeros alike, then NaN. Infinity has the key of NaN.
__device__ __forceinline__ uint64_t ascending_key(double value) {
  if (value != value) return 0xfff0000000000000ull;
  const int64_t bits = std::bit_cast<int64_t>(value + 0.0);  // without a negative zero
  return static_cast<uint64_t>(bits ^ (bits >> 63 & 0x7fffffffffffffff)) ^ 0x8000000000000000ull;
}

// A key that is the smaller, the larger a positive number is.
__device__ __forceinline__ uint32_t descending_key(float value) { return ~std::bit_cast<uint32_t>(value); }
__device__ __forceinline__ uint64_t descending_key(double value) { return ~std::bit_cast<uint64_t>(value); }
__device__ __forceinline__ float value_of(uint32_t key) { return std::bit_cast<float>(~key); }
__device__ __forceinline__ double value_of(uint64_t key) { return std::bit_cast<double>(~key); }

template <class Key>
struct Leaders {
  static constexpr Key kNone = std::numeric_limits<Key>::max();

  Key key = kNone;
  int32_t index = -1;
  Key last = kNone;  // of number `most - 1`, after which nothing is wanted

  // The items of all lanes, which are numbered from `first` on and come after all that were shown before. Of equal keys
  // the lower index is the first.
  __device__ __forceinline__ void show(Key item, int32_t first, int most) {
    const int lane = threadIdx.x % 32;
    for (uint32_t left = __ballot_sync(kAllLanes, item < last); left; left &= left - 1) {
      const int from = __ffs(left) - 1;
      const Key next = __shfl_sync(kAllLanes, item, from);
      if (next >= last) continue;
      const int place = __popc(__ballot_sync(kAllLanes, key <= next));
      const Key key_before = __shfl_up_sync(kAllLanes, key, 1);
      const int32_t index_before = __shfl_up_sync(kAllLanes, index, 1);
      if (lane >= place) {
        key = lane == place ? next : key_before;
        index = lane == place ? first + from : index_before;
      }
      last = __shfl_sync(kAllLanes, key, most - 1);
    }
  }
};

}  // namespace
}  // namespace yolox_ops
