// How a block chooses the largest values or the preferred pairs among many: by rounds that each find what comes next.
// Every choice is by a total order, so the order in which items lie does not matter.
#pragma once

#include <cstring>
#include <type_traits>

#include "assign/rule.h"
#include "core/device.cuh"

namespace yolox_ops {
namespace {

// A value of another lane, moved word by word.
template <class V, class Shuffle>
__device__ __forceinline__ V shuffle_words(V value, const Shuffle& shuffle) {
  using Word = std::conditional_t<sizeof(V) % 8 == 0, unsigned long long, unsigned>;
  Word words[sizeof(V) / sizeof(Word)];
  static_assert(sizeof words == sizeof value);
  std::memcpy(words, &value, sizeof value);
  for (Word& word : words) word = shuffle(word);
  std::memcpy(&value, words, sizeof value);
  return value;
}
template <class V>
__device__ __forceinline__ V of_lane(V value, int lane) {
  return shuffle_words(value, [lane](auto word) { return __shfl_sync(kAllLanes, word, lane); });
}

// What combine(a, b) makes of the values of all lanes, in every lane. It must not depend on the order.
template <class V, class Combine>
__device__ __forceinline__ V warp_reduce(V value, const Combine& combine) {
  for (int step = 16; step > 0; step /= 2) {
    value = combine(value, shuffle_words(value, [step](auto word) { return __shfl_xor_sync(kAllLanes, word, step); }));
  }
  return value;
}

// The same over a block; every thread must call it.
template <int threads, class V, class Combine>
__device__ __forceinline__ V block_reduce(V value, const Combine& combine) {
  __shared__ V of_warp[threads / 32];
  value = warp_reduce(value, combine);
  __syncthreads();  // until the call before is read
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  value = of_warp[0];
  for (int w = 1; w < threads / 32; ++w) value = combine(value, of_warp[w]);
  return value;
}

struct Best {
  __device__ Preference operator()(const Preference& a, const Preference& b) const { return b < a ? b : a; }
};

// A value and how often it occurs.
template <class T>
struct Top {
  T value;
  int32_t count;

  __device__ void add(T other, int32_t times) {
    if (other > value) *this = {other, 0};
    if (other == value) count += times;
  }
};

// Items in shared memory, as far as they fit. Their order is that of the threads' luck.
template <class Item, int capacity>
struct Shortlist {
  int32_t count;
  Item items[capacity];

  __device__ __forceinline__ void push(const Item& item) {
    const int32_t at = atomicAdd(&count, 1);
    if (at < capacity) items[at] = item;
  }
  __device__ bool complete() const { return count <= capacity; }

  // Calls visit(item) for this thread's share.
  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    for (int32_t i = threadIdx.x; i < count; i += blockDim.x) visit(items[i]);
  }
};

// Sum of the q largest positive values, the largest first; NaN is none. each(visit) calls visit(value) for this
// thread's share of the values.
template <int threads, class T, class Each>
__device__ __forceinline__ T sum_of_top(const Each& each, int64_t q) {
  T sum = T(0), last = T(0);
  while (q > 0) {
    Top<T> top{T(0), 0};
    each([&](T value) {
      if (value > T(0) && (last == T(0) || value < last)) top.add(value, 1);
    });
    top = block_reduce<threads>(top, [](Top<T> a, const Top<T>& b) { return a.add(b.value, b.count), a; });
    if (top.count == 0) break;
    for (int32_t i = 0; i < top.count && q > 0; ++i, --q) sum += top.value;
    last = top.value;
  }
  return sum;
}

// Calls take(index) in one thread for the k preferred pairs that can match; each(visit) calls visit(Preference).
template <int threads, class Each, class Take>
__device__ __forceinline__ void take_preferred(const Each& each, int64_t k, const Take& take) {
  const Preference none(INFINITY, INT64_MAX);
  Preference last(0.0, -1);
  last.rank = -1;
  for (; k > 0; --k) {
    Preference best = none;
    each([&](const Preference& pair) {
      if (last < pair && pair < best) best = pair;
    });
    best = block_reduce<threads>(best, Best());
    if (best.rank == none.rank) return;
    if (threadIdx.x == 0) take(best.index);
    last = best;
  }
}

// Marks that ground truth g takes an anchor, whatever others do at the same time.
__device__ __forceinline__ void take_anchor(int32_t* owner, int64_t g) {
  if (atomicCAS(owner, int32_t{kNobody}, static_cast<int32_t>(g)) != kNobody) atomicExch(owner, int32_t{kSeveral});
}

}  // namespace
}  // namespace yolox_ops
