// How a block reduces the rows of an image, each to one value.
#pragma once

#include "core/reduce.cuh"
#include "transport/ota_image.cuh"

namespace yolox_ops {
namespace {

// A warp to each.
template <class V, class T, class OfPair, class Combine, class Set>
__device__ __forceinline__ void reduce_listed_rows(const OtaImage<T>& image, V none, const OfPair& of_pair,
                                                   const Combine& combine, const Set& set) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int32_t g = warp; g < image.gts; g += kWarps) {
    const int32_t pairs = image.rows[g].pairs;
    if (pairs == 0) continue;
    V value = none;
#pragma unroll
    for (int32_t i = 0; i < kListed; i += 32) {
      if (i + lane < pairs) value = combine(value, of_pair(g * kListed + i + lane));
    }
    value = warp_reduce(value, combine);
    if (lane == 0) set(g, value);
  }
}

// Combines of_pair(pair) of each listed row and of_column(dense row, column) of each dense one, and calls set(row,
// result) in one thread. Of dense rows all threads take their columns, as many rows at a time as there are warps, each
// of which then combines one: the last first, since listed rows go to the first ones.
template <class V, class T, class OfPair, class OfColumn, class Combine, class Set>
__device__ __forceinline__ void reduce_rows(const OtaImage<T>& image, V none, const OfPair& of_pair,
                                            const OfColumn& of_column, const Combine& combine, const Set& set) {
  __shared__ V parts[kWarps][kWarps];  // of rows, by warps
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int32_t first = 0; first < image.n_dense; first += kWarps) {
    const int32_t many = min(image.n_dense - first, kWarps);
    if (first > 0) __syncthreads();  // until the parts before are read
    for (int32_t r = 0; r < many; ++r) {
      V part = none;
      image.each_column([&](int32_t c) { part = combine(part, of_column(first + r, c)); });
      part = warp_reduce(part, combine);
      if (lane == 0) parts[r][warp] = part;
    }
    __syncthreads();
    if (first == 0) reduce_listed_rows(image, none, of_pair, combine, set);
    const int r = kWarps - 1 - warp;
    if (r < many) {
      const V value = warp_reduce(lane < kWarps ? parts[r][lane] : none, combine);
      if (lane == 0) set(image.background() + first + r, value);
    }
  }
}

}  // namespace
}  // namespace yolox_ops
