// Reductions over a warp and over a block, of values of any type.
#pragma once

#include <bit>
#include <concepts>
#include <cstring>
#include <functional>
#include <type_traits>

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

template <class V>
__device__ __forceinline__ V warp_sum(V value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::integral<V> && sizeof(V) == 4) return __reduce_add_sync(kAllLanes, value);
#endif
  return warp_reduce(value, std::plus<>());
}

// The sum over a warp of each of `many` values, a power of 2: that of value lane * many / 32 in a lane.
template <int many, class V>
__device__ __forceinline__ V warp_sums(V (&values)[many]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = many / 2, step = 16; half > 0; half /= 2, step /= 2) {
#pragma unroll
    for (int k = 0; k < half; ++k) {  // a lane keeps half of them and has the same half of its partner's
      const bool upper = (lane & step) != 0;
      const V sent = upper ? values[k] : values[k + half];
      values[k] = (upper ? values[k + half] : values[k]) + __shfl_xor_sync(kAllLanes, sent, step);
    }
  }
#pragma unroll
  for (int step = 16 / many; step > 0; step /= 2) values[0] += __shfl_xor_sync(kAllLanes, values[0], step);
  return values[0];
}

// A float as an integer of the same order, zeros apart. The same turns it back.
__device__ __forceinline__ int32_t flip_order(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

// The largest, none of which is NaN.
template <class V>
__device__ __forceinline__ V warp_max(V value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::integral<V> && sizeof(V) == 4) return __reduce_max_sync(kAllLanes, value);
  if constexpr (std::same_as<V, float>) {
    return std::bit_cast<float>(flip_order(__reduce_max_sync(kAllLanes, flip_order(std::bit_cast<int32_t>(value)))));
  }
#endif
  return warp_reduce(value, [](V a, V b) { return a > b ? a : b; });
}

template <class V>
__device__ __forceinline__ V warp_min(V value) {
  if constexpr (std::unsigned_integral<V>) {
    return ~warp_max(~value);
  } else {
    return -warp_max(-value);
  }
}

// What combine makes of the values of a block; every thread must call it.
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

}  // namespace
}  // namespace yolox_ops
