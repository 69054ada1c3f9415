// Searches of what is in order: by halves, or by a warp's 32 places at a time.
#pragma once

#include "core/device.cuh"

namespace yolox_ops {
namespace {

// The first index of [first, end) that `holds` is true of, or `end`; from there on it is true of all.
template <class Index, class Holds>
__device__ __forceinline__ Index first_where(Index first, Index end, const Holds& holds) {
  while (first < end) {
    const Index middle = (first + end) / 2;
    if (holds(middle)) {
      end = middle;
    } else {
      first = middle + 1;
    }
  }
  return first;
}

// The same by all lanes of a warp together, for what takes long to read.
template <class Index, class Holds>
__device__ __forceinline__ Index first_where_by_warp(Index first, Index end, const Holds& holds) {
  while (first < end) {
    const Index part = (end - first + 31) / 32, last = min(first + (Index(threadIdx.x % 32) + 1) * part, end) - 1;
    const int lane = __ffs(__ballot_sync(kAllLanes, holds(last))) - 1;
    if (lane < 0) return end;
    first += lane * part;
    end = __shfl_sync(kAllLanes, last, lane);
  }
  return end;
}

}  // namespace
}  // namespace yolox_ops
