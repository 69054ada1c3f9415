// dynamic_k_match where a warp cannot hold topk: a block lists a row of the matrices, and goes over the lists, or the
// row where they could not hold it, in rounds (select.cuh).
#pragma once

#include "assign/matrices.cuh"
#include "assign/select.cuh"

namespace yolox_ops {
namespace {

// Overlaps, and pairs, that a block keeps in shared memory; what exceeds that is read anew in every round.
constexpr int kKept = 1024;

// Overlaps of ground truth g with all anchors.
template <class T, class... Readers>
struct AllOverlaps {
  const Matrices<T, Readers...>& m;
  int64_t b, g;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    for (int64_t j = threadIdx.x; j < m.N; j += kThreads) visit(m.overlaps.at(b, g, j));
  }
};

// Its pairs with all anchors.
template <class T, class... Readers>
struct AllPairs {
  const Matrices<T, Readers...>& m;
  int64_t b, g;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    for (int64_t j = threadIdx.x; j < m.N; j += kThreads) visit(Pair{m.costs.at(b, g, j), j});
  }
};

// Lists its overlaps, and the pairs that can match.
template <class T, class... Readers>
__device__ __forceinline__ void list_pairs(const Matrices<T, Readers...>& m, int64_t b, int64_t g,
                                           Shortlist<T, kKept>& overlaps, Shortlist<Pair, kKept>& pairs) {
  __syncthreads();  // until the lists before are read
  overlaps.clear();
  pairs.clear();
  __syncthreads();
  for (int64_t j = threadIdx.x; j < m.N; j += kThreads) {
    const T overlap = m.overlaps.at(b, g, j);
    const double cost = m.costs.at(b, g, j);
    if (overlap > T(0)) overlaps.push(overlap);
    if (Preference(cost, j).rank < 2) pairs.push({cost, j});
  }
  __syncthreads();
}

// A block finds dynamic k of one ground truth and takes its k anchors.
template <class T, class... Readers>
__global__ void __launch_bounds__(kThreads, 2) take_by_rounds(Matrices<T, Readers...> m) {
  __shared__ Shortlist<T, kKept> overlaps;
  __shared__ Shortlist<Pair, kKept> pairs;
  for (int64_t b = blockIdx.y; b < m.B; b += gridDim.y) {
    const int64_t gts = m.count_gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      list_pairs(m, b, g, overlaps, pairs);
      const T sum = sum_largest_by_block<kThreads>(overlaps, AllOverlaps<T, Readers...>{m, b, g}, m.topk);
      const int64_t k = dynamic_k(sum, pairs.count, m.to_nearest);
      take_preferred<kThreads>(pairs, AllPairs<T, Readers...>{m, b, g}, k,
                               [&](int64_t anchor) { take_anchor(m.takers[b * m.N + anchor], g); });
    }
  }
}

}  // namespace
}  // namespace yolox_ops
