// How a block chooses the largest values or the preferred pairs among many: by rounds that each find what comes next.
// Every choice is by a total order, so the order in which items lie does not matter.
#pragma once

#include "assign/rule.h"
#include "core/reduce.cuh"

namespace yolox_ops {
namespace {

// Of two pairs the preferred.
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

struct AddTops {
  template <class T>
  __device__ Top<T> operator()(Top<T> a, const Top<T>& b) const {
    a.add(b.value, b.count);
    return a;
  }
};

// Sum of the q largest positive values, the largest first; NaN is none. each(visit) calls visit(value) for this
// thread's share of the values.
template <int threads, class T, class Each>
__device__ __forceinline__ T sum_largest_by_block(const Each& each, int64_t q) {
  T sum = T(0), last = T(0);
  while (q > 0) {
    Top<T> top{T(0), 0};
    each([&](T value) {
      const bool is_next = value > T(0) && (last == T(0) || value < last);
      if (is_next) top.add(value, 1);
    });
    top = block_reduce<threads>(top, AddTops());
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
