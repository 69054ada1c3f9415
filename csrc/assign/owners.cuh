// Who takes an anchor, and how the conflicts among several are settled.
#pragma once

#include "assign/rule.h"
#include "core/device.cuh"

namespace yolox_ops {
namespace {

// Marks that ground truth g takes an anchor, whatever others do at the same time.
__device__ __forceinline__ void take_anchor(int32_t* owner,  // of the anchor
                                            int64_t g) {
  if (atomicCAS(owner, int32_t{kNobody}, static_cast<int32_t>(g)) != kNobody) atomicExch(owner, int32_t{kSeveral});
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
