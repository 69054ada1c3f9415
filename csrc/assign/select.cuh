// How a block chooses the largest values or the preferred pairs among many: by rounds that each find what comes next.
// Every choice is by a total order, so the order in which items lie does not matter.
//
// What they choose from has a member each(visit), which calls visit(item) for this thread's share of the items: a
// Shortlist, or a functor that computes all items anew whenever it is asked for them.
#pragma once

#include "assign/owners.cuh"
#include "assign/rule.h"
#include "core/reduce.cuh"
#include "core/shortlist.cuh"

namespace yolox_ops {
namespace {

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

struct AddTops {
  template <class T>
  __device__ Top<T> operator()(Top<T> a, const Top<T>& b) const {
    a.add(b.value, b.count);
    return a;
  }
};

// Sum of the q largest positive values, the largest first; NaN is none.
template <int threads, class T, class Values>
__device__ __forceinline__ T sum_largest_by_block(const Values& values, int64_t q) {
  T sum = T(0), last = T(0);
  while (q > 0) {
    Top<T> top{T(0), 0};
    values.each([&](T value) {
      const bool is_next = value > T(0) && (last == T(0) || value < last);
      if (is_next) top.add(value, 1);
    });
    top = block_reduce<threads>(top, AddTops());
    if (top.count == 0) break;
    const int64_t times = min(int64_t{top.count}, q);
    for (int64_t i = 0; i < times; ++i) sum += top.value;
    q -= times;
    last = top.value;
  }
  return sum;
}

// The same of `listed`, or of `all` where the list could not hold them.
template <int threads, class T, int capacity, class All>
__device__ __forceinline__ T sum_largest_by_block(const Shortlist<T, capacity>& listed, const All& all, int64_t q) {
  return listed.complete() ? sum_largest_by_block<threads, T>(listed, q) : sum_largest_by_block<threads, T>(all, q);
}

// Values that a warp keeps in registers.
constexpr int kHeld = 256;

// The same of n values, at most kHeld, by a warp.
template <class T>
__device__ __forceinline__ T sum_largest_by_warp(const T* values,  // [n]
                                                 int n, int64_t q) {
  T held[kHeld / 32];
#pragma unroll
  for (int i = 0; i < kHeld / 32; ++i) {
    const int at = i * 32 + threadIdx.x % 32;
    held[i] = at < n && values[at] > T(0) ? values[at] : T(0);
  }
  T sum = T(0);
  while (q > 0) {
    T most = held[0];
#pragma unroll
    for (int i = 1; i < kHeld / 32; ++i) most = upper(most, held[i]);
    most = warp_max(most);
    if (most == T(0)) break;
    int times = 0;
#pragma unroll
    for (int i = 0; i < kHeld / 32; ++i) {
      times += __popc(__ballot_sync(kAllLanes, held[i] == most));
      if (held[i] == most) held[i] = T(0);
    }
    for (; times > 0 && q > 0; --times, --q) sum += most;
  }
  return sum;
}

// A pair of a ground truth with what `index` numbers: an anchor or a candidate.
struct Pair {
  double cost;
  int64_t index;
};

// Of two pairs the preferred.
struct Best {
  __device__ Preference operator()(const Preference& a, const Preference& b) const { return b < a ? b : a; }
};

// Calls take(index) of the k preferred pairs, as far as these can match, in one thread.
template <int threads, class Pairs, class Take>
__device__ __forceinline__ void take_preferred(const Pairs& pairs, int64_t k, const Take& take) {
  const Preference none(INFINITY, INT64_MAX);
  Preference last(0.0, -1);
  last.rank = -1;
  for (; k > 0; --k) {
    Preference best = none;
    pairs.each([&](const Pair& pair) {
      const Preference preference(pair.cost, pair.index);
      if (last < preference && preference < best) best = preference;
    });
    best = block_reduce<threads>(best, Best());
    if (best.rank == none.rank) return;
    if (threadIdx.x == 0) take(best.index);
    last = best;
  }
}

// The same of `listed`, or of `all` where the list could not hold them.
template <int threads, int capacity, class All, class Take>
__device__ __forceinline__ void take_preferred(const Shortlist<Pair, capacity>& listed, const All& all, int64_t k,
                                               const Take& take) {
  if (listed.complete()) {
    take_preferred<threads>(listed, k, take);
  } else {
    take_preferred<threads>(all, k, take);
  }
}

}  // namespace
}  // namespace yolox_ops
