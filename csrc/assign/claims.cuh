// What the ground truths of an image say of an anchor, and what follows for its owner.
#pragma once

#include <bit>
#include <limits>

#include "assign/rule.h"
#include "core/reduce.cuh"

namespace yolox_ops {
namespace {

constexpr unsigned long long kNoOffer = ~0ull;

struct alignas(16) Claim {
  unsigned long long takers;    // how many took it, times 2^32, and the sum of who
  unsigned long long cheapest;  // of the ground truths that offered themselves: the least cost as a key, and whose
};

__device__ __forceinline__ void take_anchor(Claim& claim, int64_t g) {
  atomicAdd(&claim.takers, (1ull << 32) + static_cast<unsigned long long>(g));
}

// Ground truth g offers itself at a cost that no penalised pair can precede. If all offer that can, the cheapest needs
// no second search. A float64 has no room beside its owner.
__device__ __forceinline__ void offer(Claim& claim, int64_t g, float cost) {
  const uint32_t bits = flip_order(std::bit_cast<int32_t>(cost + 0.0f));  // without a negative zero
  atomicMin(&claim.cheapest, static_cast<unsigned long long>(bits ^ 0x80000000u) << 32 | static_cast<uint32_t>(g));
}
__device__ __forceinline__ void offer(Claim&, int64_t, double) {}

// The owner, where the claim tells it.
__device__ __forceinline__ int32_t owner_of(const Claim& claim) {
  const uint32_t takers = claim.takers >> 32;
  if (takers == 0) return kNobody;
  if (takers == 1) return static_cast<int32_t>(claim.takers);
  return claim.cheapest == kNoOffer ? int32_t{kSeveral} : static_cast<int32_t>(claim.cheapest);
}

}  // namespace
}  // namespace yolox_ops
