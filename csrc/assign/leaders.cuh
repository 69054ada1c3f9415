// The first few of the items that the warps of a block are shown. Each warp keeps its own in order: lane i holds number
// i. An item takes a few dozen operations where it is among the first so far, and part of one vote where it is not.
#pragma once

#include <bit>
#include <limits>

#include "core/reduce.cuh"
#include "core/shortlist.cuh"

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

__device__ __forceinline__ uint32_t high_half(uint32_t key) { return key; }
__device__ __forceinline__ uint32_t high_half(uint64_t key) { return static_cast<uint32_t>(key >> 32); }

// The high half of what is never wanted.
constexpr uint32_t kNever = std::numeric_limits<uint32_t>::max();

// Number n of the lanes' distinct values, counted from 1, or the last; so at least n values are no larger, if there
// are.
__device__ __forceinline__ uint32_t find_number(uint32_t value, int n) {
  uint32_t found = warp_min(value);
  while (--n > 0) {
    if (value == found) value = kNever;
    const uint32_t next = warp_min(value);
    if (next == kNever) break;
    found = next;
  }
  return found;
}

// That of ascending_key, or kNever of infinity, without a branch.
__device__ __forceinline__ uint32_t ascending_high_half(double value) {
  constexpr uint32_t kEnd = 0xfff00000;  // of infinity and NaN
  const int32_t high = __double2hiint(value + 0.0);
  const uint32_t half = static_cast<uint32_t>(high ^ (high >> 31 | std::numeric_limits<int32_t>::min()));
  return value == value ? (half == kEnd ? kNever : half) : kEnd;
}

template <class Key>
struct WarpLeaders {
  static constexpr Key kNone = std::numeric_limits<Key>::max();

  Key key = kNone;
  int32_t index = -1;

  // The items of some lines of 32, which are numbered from `first` on and come after all that were shown before. Of
  // equal keys the lower number is the first. `high` has a lane's items' high halves, or kNever; key_of(line) gives
  // the key. `bound`, which the warps share, is the least high half of their last.
  template <int lines, class KeyOf>
  __device__ __forceinline__ void show(const uint32_t (&high)[lines], const KeyOf& key_of, int32_t first, int most,
                                       uint32_t& bound) {
    uint32_t least = high[0];
#pragma unroll
    for (int i = 1; i < lines; ++i) least = min(least, high[i]);
    uint32_t limit = *static_cast<volatile uint32_t*>(&bound);
    const int wanting = __popc(__ballot_sync(kAllLanes, least <= limit));
    if (wanting == 0) return;
    if (wanting > most) limit = find_number(least, most);  // these themselves leave nothing after it
    bool wanted[lines];
#pragma unroll
    for (int i = 0; i < lines; ++i) wanted[i] = __any_sync(kAllLanes, high[i] <= limit);
#pragma unroll
    for (int i = 0; i < lines; ++i) {
      if (wanted[i]) insert(high[i] <= limit ? key_of(i) : kNone, first + i * 32, most);
    }
    limit = min(limit, high_half(last));
    if (threadIdx.x % 32 == 0) atomicMin(&bound, limit);
  }

 private:
  __device__ __forceinline__ void insert(Key item, int32_t first, int most) {
    const int lane = threadIdx.x % 32;
    for (uint32_t left = __ballot_sync(kAllLanes, item < last); left;) {
      const int from = __ffs(left) - 1;
      const Key next = __shfl_sync(kAllLanes, item, from);
      const int place = __popc(__ballot_sync(kAllLanes, key <= next));
      const Key key_before = __shfl_up_sync(kAllLanes, key, 1);
      const int32_t index_before = __shfl_up_sync(kAllLanes, index, 1);
      if (lane >= place) {
        key = lane == place ? next : key_before;
        index = lane == place ? first + from : index_before;
      }
      last = __shfl_sync(kAllLanes, key, most - 1);
      left &= (left - 1) & __ballot_sync(kAllLanes, item < last);
    }
  }

  Key last = kNone;  // of number `most - 1`, after which nothing is wanted
};

// Of all warps: no fewer than the first few, in no order.
template <class Key, int warps>
struct BlockLeaders {
  struct Leader {
    Key key;
    int32_t index;

    __device__ __forceinline__ bool precedes(const Leader& other) const {
      return key < other.key || (key == other.key && index < other.index);
    }
  };

  uint32_t bound;
  Shortlist<Leader, warps * kMostLeaders> leaders;

  __device__ __forceinline__ void clear() {
    if (threadIdx.x == 0) bound = kNever - 1;
    leaders.clear();
  }

  // Takes what a warp has, unless others have as many before it.
  __device__ __forceinline__ void gather(const WarpLeaders<Key>& warp) {
    const uint32_t limit = *static_cast<volatile uint32_t*>(&bound);
    leaders.push_by_warp(warp.key != warp.kNone && high_half(warp.key) <= limit, {warp.key, warp.index});
  }

  __device__ __forceinline__ int count() const { return leaders.count; }
  __device__ __forceinline__ int32_t index(int i) const { return leaders.items[i].index; }
  __device__ __forceinline__ Key key(int i) const { return leaders.items[i].key; }

  // How many precede number i.
  __device__ __forceinline__ int count_before(int i) const {
    const Leader mine = leaders.items[i];
    int before = 0;
#pragma unroll 8
    for (int j = 0; j < leaders.count; ++j) before += leaders.items[j].precedes(mine);
    return before;
  }
};

// The largest positive values that the warps of a block are shown.
template <class T, int warps>
struct Largest {
  using Key = decltype(descending_key(T()));

  BlockLeaders<Key, warps> leaders;
  T sorted[kMostLeaders];  // 0 where there are no more

  static __device__ __forceinline__ uint32_t high_half_of(T value) {
    return value > T(0) ? high_half(descending_key(value)) : kNever;
  }

  __device__ __forceinline__ void clear() {
    leaders.clear();
    if (threadIdx.x < kMostLeaders) sorted[threadIdx.x] = T(0);
  }

  // By a thread for each that was gathered; the others see it after the next barrier.
  __device__ __forceinline__ void sort(int most) {
    if (threadIdx.x >= leaders.count()) return;
    const int rank = leaders.count_before(threadIdx.x);
    if (rank < most) sorted[rank] = value_of(leaders.key(threadIdx.x));
  }

  // The largest first.
  __device__ __forceinline__ T sum() const {
    T sum = T(0);
#pragma unroll
    for (int r = 0; r < kMostLeaders; ++r) sum += sorted[r];
    return sum;
  }
};

}  // namespace
}  // namespace yolox_ops
