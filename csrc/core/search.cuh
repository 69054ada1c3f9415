// Binary search.
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

}  // namespace
}  // namespace yolox_ops
