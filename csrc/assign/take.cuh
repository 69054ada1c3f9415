// The launch in which a ground truth takes its candidates; a block has one. Its warps go over the chunks of candidates
// and list overlaps, and the pairs inside the ground truth's own region. The first warp adds up the largest overlaps
// while the others find the costs of those pairs; then each pair counts those that precede it. What does not fit into
// the lists, and a ground truth that reaches beyond its own region, goes by rounds (select.cuh).
#pragma once

#include <functional>

#include "assign/claims.cuh"
#include "assign/describe.cuh"
#include "assign/leaders.cuh"
#include "assign/select.cuh"

namespace yolox_ops {
namespace {

// Threads that match one ground truth.
constexpr int kTakers = 192;
// Overlaps, and pairs, that a block keeps in shared memory; what exceeds that is computed anew in every round.
constexpr int kKept = 1024;

// A ground truth that a block matches.
template <class T, class Dtypes>
struct Row {
  const Batch<T, Dtypes>& batch;
  const CandidateLists<T>& lists;
  int64_t b, g;
  Truth<T> gt;
  Claim* claims;  // [N], of the image

  __device__ __forceinline__ T overlap(const Candidate<T>& c) const { return iou(gt.box, c.box); }
  __device__ __forceinline__ void take(int64_t anchor) const { take_anchor(claims[anchor].takers, g); }

  // The cost of a pair inside, infinite if a penalised one may precede it. Offers it to the anchor if none can.
  __device__ __forceinline__ T offer_inside(const Candidate<T>& c, T overlap) const {
    const T cost = cost_of(batch, b, c, gt, overlap);
    if (!(static_cast<double>(cost) < least_penalised(batch.rule))) return T(INFINITY);
    offer(claims[c.anchor], g, cost);
    return cost;
  }
};

// Overlaps with all candidates.
template <class T, class Dtypes>
struct AllOverlaps {
  const Row<T, Dtypes>& row;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    each_candidate(row.lists, row.b, [&](const Candidate<T>& c) { visit(row.overlap(c)); });
  }
};

// Pairs with all candidates, with the penalty.
template <class T, class Dtypes>
struct AllPairs {
  const Row<T, Dtypes>& row;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    each_candidate(row.lists, row.b, [&](const Candidate<T>& c) {
      visit(Pair{full_cost_of(row.batch, row.b, c, row.gt, row.overlap(c)), c.anchor});
    });
  }
};

// A pair that pays no penalty: first its overlap and where its candidate lies, then its cost and anchor.
template <class T>
struct Inside {
  T value;
  int32_t index;
};

template <class T>
struct TakeLists {
  Shortlist<T, kKept> overlaps;
  Shortlist<Inside<T>, kKept> inside;
  Shortlist<Pair, kKept> pairs;
  Largest<T, kTakers / kLanes> largest;
};

// Lists the overlaps and the pairs inside. Returns how many candidates there are.
template <class T, class Dtypes>
__device__ __forceinline__ int32_t list_inside(const Row<T, Dtypes>& row, TakeLists<T>& lists) {
  __syncthreads();  // until the lists before are read
  lists.overlaps.clear();
  lists.inside.clear();
  __syncthreads();
  const Chunk<T>* chunks = row.lists.chunks + row.b * row.lists.tiles * kChunks;
  const int warp = threadIdx.x / kLanes;
  const int32_t size = each_chunk(row.lists, row.b, warp, kTakers / kLanes, [&](const Chunk<T>& chunk, int32_t n) {
    const Candidate<T> c = chunk.at(min(lane_of(), n - 1));
    const bool exists = lane_of() < n;
    const T overlap = row.overlap(c);
    const int32_t slot = static_cast<int32_t>(&chunk - chunks) * kLanes + lane_of();
    lists.overlaps.push_by_warp(exists && overlap > T(0), overlap);
    lists.inside.push_by_warp(exists && is_inside(row.batch, c, row.gt), {overlap, slot});
  });
  __syncthreads();
  return size;
}

// Finds the costs of the listed pairs inside, by all warps but the first; or of all, where they are not all listed.
// Returns to every thread how many no penalised pair can precede, 0 if they are not all listed.
template <class T, class Dtypes>
__device__ __forceinline__ int32_t cost_inside(const Row<T, Dtypes>& row, TakeLists<T>& lists) {
  int32_t safe = 0;
  if (lists.inside.complete()) {
    const Chunk<T>* chunks = row.lists.chunks + row.b * row.lists.tiles * kChunks;
    const int32_t first = static_cast<int32_t>(threadIdx.x) - kLanes;
    for (int32_t i = first; first >= 0 && i < lists.inside.count; i += kTakers - kLanes) {
      Inside<T>& pair = lists.inside.items[i];
      const Candidate<T> c = chunks[pair.index / kLanes].at(pair.index % kLanes);
      pair = {row.offer_inside(c, pair.value), c.anchor};
      safe += is_finite(pair.value);
    }
  } else {
    each_candidate(row.lists, row.b, [&](const Candidate<T>& c) {
      if (is_inside(row.batch, c, row.gt)) row.offer_inside(c, row.overlap(c));
    });
  }
  return block_reduce<kTakers>(safe, std::plus<>());
}

// Takes the k first of the pairs inside, of which at least k are finite.
template <class T, class Dtypes>
__device__ __forceinline__ void take_inside(const Row<T, Dtypes>& row, const Shortlist<Inside<T>, kKept>& inside,
                                            int64_t k) {
  for (int32_t i = threadIdx.x; i < inside.count; i += kTakers) {
    const Inside<T> mine = inside.items[i];
    int32_t before = 0;
#pragma unroll 4
    for (int32_t j = 0; j < inside.count; ++j) {
      const Inside<T> other = inside.items[j];
      before += (other.value < mine.value) | ((other.value == mine.value) & (other.index < mine.index));
    }
    if (before < k) row.take(mine.index);
  }
}

// Takes the k preferred of the pairs with all candidates.
template <class T, class Dtypes>
__device__ __forceinline__ void take_anywhere(const Row<T, Dtypes>& row, Shortlist<Pair, kKept>& pairs, int64_t k) {
  const AllPairs<T, Dtypes> all{row};
  pairs.clear();
  __syncthreads();
  all.each([&](const Pair& pair) { pairs.push(pair); });
  __syncthreads();
  take_preferred<kTakers>(pairs, all, k, [&](int64_t anchor) { row.take(anchor); });
}

// Sum of the q largest overlaps with all candidates; of a q that a warp can hold.
template <class T, class Dtypes>
__device__ __forceinline__ T sum_leading(const Row<T, Dtypes>& row, Largest<T, kTakers / kLanes>& largest, int q) {
  largest.clear();
  __syncthreads();
  WarpLeaders<typename Largest<T, kTakers / kLanes>::Key> leaders;
  const Chunk<T>* chunks = row.lists.chunks + row.b * row.lists.tiles * kChunks;
  each_chunk(row.lists, row.b, threadIdx.x / kLanes, kTakers / kLanes, [&](const Chunk<T>& chunk, int32_t n) {
    const T overlap = lane_of() < n ? row.overlap(chunk.at(lane_of())) : T(0);
    const uint32_t high[1] = {largest.high_half_of(overlap)};
    const int32_t first = static_cast<int32_t>(&chunk - chunks) * kLanes;
    leaders.show(high, [&](int) { return descending_key(overlap); }, first, q, largest.leaders.bound);
  });
  largest.leaders.gather(leaders);
  __syncthreads();
  largest.sort(q);
  __syncthreads();
  return largest.sum();
}

// Finds dynamic k and takes k candidates.
template <class T, class Dtypes>
__device__ __forceinline__ void take_row(const Row<T, Dtypes>& row, TakeLists<T>& lists) {
  __shared__ int64_t found;
  const int64_t size = list_inside(row, lists);
  if (size == 0) return;
  const int64_t q = min(row.batch.rule.topk, size);
  const bool few = lists.overlaps.count <= kHeld;
  if (few && threadIdx.x < kLanes) {
    const T sum = sum_largest_by_warp<T>(lists.overlaps.items, lists.overlaps.count, q);
    found = dynamic_k(sum, q, row.batch.rule.to_nearest);
  }
  if (!few) {
    const T sum = q <= kMostLeaders ? sum_leading(row, lists.largest, static_cast<int>(q))
                                    : sum_largest_by_block<kTakers>(lists.overlaps, AllOverlaps<T, Dtypes>{row}, q);
    if (threadIdx.x == 0) found = dynamic_k(sum, q, row.batch.rule.to_nearest);
  }
  const int32_t safe = cost_inside(row, lists);
  const int64_t k = found;
  if (k == 0) return;
  if (safe >= k) {
    take_inside(row, lists.inside, k);
  } else {  // the rare row that reaches beyond its own geometry
    take_anywhere(row, lists.pairs, k);
  }
}

template <class T, class Dtypes>
__global__ void __launch_bounds__(kTakers, 4) take(Batch<T, Dtypes> batch, CandidateLists<T> candidates,
                                                   Claim* claims) {  // [B, N]
  __shared__ TakeLists<T> lists;
  for (int64_t b = blockIdx.y; b < batch.B; b += gridDim.y) {
    const int64_t gts = batch.count_gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      const Row<T, Dtypes> row{batch, candidates, b, g, batch.read_gt(b, g), claims + b * batch.N};
      if (row.gt.real) take_row(row, lists);
    }
  }
}

}  // namespace
}  // namespace yolox_ops
