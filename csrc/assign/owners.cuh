// Who takes an anchor, and how the conflicts among several are settled.
#pragma once

#include "assign/rule.h"
#include "core/device.cuh"

namespace yolox_ops {
namespace {

// How many ground truths took an anchor, times 2^32, and the sum of who.
using Takers = unsigned long long;

// Adds ground truth g, whatever others do at the same time.
__device__ __forceinline__ void take_anchor(Takers& takers, int64_t g) {
  atomicAdd(&takers, (Takers{1} << 32) + static_cast<Takers>(g));
}

__device__ __forceinline__ int32_t owner_of(Takers takers) {
  const uint32_t count = takers >> 32;
  if (count > 1) return kSeveral;
  return count == 0 ? int32_t{kNobody} : static_cast<int32_t>(takers);
}

// This thread's owner, where there are several the one that find_cheapest(lane) finds for the lane's anchor. The whole
// warp finds one after another.
template <class FindCheapest>
__device__ __forceinline__ int32_t settle_owner(int32_t owner, const FindCheapest& find_cheapest) {
  for (uint32_t disputed = __ballot_sync(kAllLanes, owner == kSeveral); disputed; disputed &= disputed - 1) {
    const int lane = __ffs(disputed) - 1;
    const int32_t cheapest = find_cheapest(lane);
    if (threadIdx.x % 32 == lane) owner = cheapest;
  }
  return owner;
}

// Adds the threads of a block that have found an owner.
__device__ __forceinline__ void count_owned(int32_t owner, int64_t* num_fg) {  // of the image
  const int found = __syncthreads_count(owner != kNobody);
  if (threadIdx.x == 0 && found > 0) {
    atomicAdd(reinterpret_cast<unsigned long long*>(num_fg), static_cast<unsigned long long>(found));
  }
}

}  // namespace
}  // namespace yolox_ops
