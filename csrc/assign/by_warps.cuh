// dynamic_k_match where a warp can hold topk: each warp of a block goes over lines of a row and keeps the topk largest
// overlaps and the topk preferred pairs (leaders.cuh). Warps tell each other how far down theirs reach, so that few of
// them keep what is not among the block's; of those that are left, each counts the ones that precede it.
#pragma once

#include "assign/leaders.cuh"
#include "assign/matrices.cuh"
#include "core/shortlist.cuh"

namespace yolox_ops {
namespace {

// Elements of a row that a thread reads at once, each of a line of 32.
constexpr int kReads = 8;

// What the warps of a block have of a row.
template <class T>
struct RowLeaders {
  Largest<T, kWarps> overlaps;
  BlockLeaders<uint64_t, kWarps> pairs;
};

// A warp's share of a row.
template <class T, class... Readers>
__device__ __forceinline__ void lead(const Matrices<T, Readers...>& m, int64_t b, int64_t g, RowLeaders<T>& row) {
  const auto costs = m.costs.row(b, g);
  const auto overlaps = m.overlaps.row(b, g);
  const int most = static_cast<int>(m.topk), N = static_cast<int>(m.N), lane = threadIdx.x % 32;
  WarpLeaders<typename Largest<T, kWarps>::Key> largest;
  WarpLeaders<uint64_t> preferred;
  for (int from = threadIdx.x / 32 * 32 * kReads; from < N; from += kThreads * kReads) {
    double cost[kReads];
    T overlap[kReads];
#pragma unroll
    for (int i = 0; i < kReads; ++i) {
      const int anchor = min(from + i * 32 + lane, N - 1);
      cost[i] = costs.at(anchor);
      overlap[i] = overlaps.at(anchor);
    }
    uint32_t of_overlap[kReads], of_cost[kReads];
#pragma unroll
    for (int i = 0; i < kReads; ++i) {
      const bool exists = from + i * 32 + lane < N;
      of_overlap[i] = exists ? row.overlaps.high_half_of(overlap[i]) : kNever;
      of_cost[i] = exists ? ascending_high_half(cost[i]) : kNever;
    }
    largest.show(of_overlap, [&](int i) { return descending_key(overlap[i]); }, from, most, row.overlaps.leaders.bound);
    preferred.show(of_cost, [&](int i) { return ascending_key(cost[i]); }, from, most, row.pairs.bound);
  }
  row.overlaps.leaders.gather(largest);
  row.pairs.gather(preferred);
}

// A block finds dynamic k of one ground truth and takes its k anchors.
template <class T, class... Readers>
__global__ void __launch_bounds__(kThreads, at_once(Matrices<T, Readers...>::kDense ? 4 : 3))
    take_by_warps(Matrices<T, Readers...> m) {
  __shared__ RowLeaders<T> row;
  const int i = threadIdx.x;
  for (int64_t b = blockIdx.y; b < m.B; b += gridDim.y) {
    const int64_t gts = m.count_gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      __syncthreads();  // until the row before is taken
      row.overlaps.clear();
      row.pairs.clear();
      __syncthreads();
      lead(m, b, g, row);
      __syncthreads();
      row.overlaps.sort(static_cast<int>(m.topk));
      __syncthreads();
      if (i >= row.pairs.count()) continue;
      if (row.pairs.count_before(i) < dynamic_k(row.overlaps.sum(), m.N, m.to_nearest)) {
        take_anchor(m.takers[b * m.N + row.pairs.index(i)], g);
      }
    }
  }
}

}  // namespace
}  // namespace yolox_ops
