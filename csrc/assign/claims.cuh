// What the ground truths of an image say of an anchor, and what follows for its owner.
#pragma once

#include <bit>
#include <limits>

#include "assign/owners.cuh"
#include "core/reduce.cuh"

namespace yolox_ops {
namespace {

constexpr unsigned long long kNoOffer = ~0ull;

struct alignas(16) Claim {
  Takers takers;
  unsigned long long cheapest;  // of the ground truths that offered themselves: the least cost as a key, and whose
};

// Ground truth g offers itself at a cost that no penalised pair can precede. If all offer that can, the cheapest needs
// no second search. A float64 has no room beside its owner.
__device__ __forceinline__ void offer(Claim& claim, int64_t g, float cost) {
  const uint32_t bits = flip_order(std::bit_cast<int32_t>(cost + 0.0f));  // without a negative zero
  atomicMin(&claim.cheapest, static_cast<unsigned long long>(bits ^ 0x80000000u) << 32 | static_cast<uint32_t>(g));
}
__device__ __forceinline__ void offer(Claim&, int64_t, double) {}

// The owner, where the claim tells it.
__device__ __forceinline__ int32_t owner_of(const Claim& claim) {
  const int32_t owner = owner_of(claim.takers);
  return owner == kSeveral && claim.cheapest != kNoOffer ? static_cast<int32_t>(claim.cheapest) : owner;
}

}  // namespace
}  // namespace yolox_ops
