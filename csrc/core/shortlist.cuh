// A list that the threads of a block fill together.
#pragma once

#include "core/device.cuh"

namespace yolox_ops {
namespace {

// Items in shared memory, as far as they fit. Their order is that of the threads' luck.
template <class Item, int capacity>
struct Shortlist {
  int32_t count;
  Item items[capacity];

  // Every thread of the block may call it; the others see it after the next barrier.
  __device__ __forceinline__ void clear() {
    if (threadIdx.x == 0) count = 0;
  }

  __device__ __forceinline__ void push(const Item& item) {
    const int32_t slot = atomicAdd(&count, 1);
    if (slot < capacity) items[slot] = item;
  }
  // The same by all lanes of a warp together, of those that have an item.
  __device__ __forceinline__ void push_by_warp(bool has, const Item& item) {
    const uint32_t having = __ballot_sync(kAllLanes, has);
    if (having == 0) return;
    const int lane = threadIdx.x % 32;
    int32_t slot = lane == 0 ? atomicAdd(&count, __popc(having)) : 0;
    slot = __shfl_sync(kAllLanes, slot, 0) + __popc(having & ((1u << lane) - 1));
    if (has && slot < capacity) items[slot] = item;
  }
  __device__ bool complete() const { return count <= capacity; }

  // Calls visit(item) for this thread's share.
  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    for (int32_t i = threadIdx.x; i < count; i += blockDim.x) visit(items[i]);
  }
};

}  // namespace
}  // namespace yolox_ops
