// The candidates of a batch, as simota_cost's and simota's first launches (mark.cuh, describe.cuh) find them, and how a
// block goes over those of an image.
//
// Anchors fall into tiles, which take groups of neighbours in turn, so that all tiles have about as many candidates.
// The candidates of a tile lie in chunks of 32, which warps share out among themselves.
#pragma once

#include "assign/batch.cuh"
#include "assign/claims.cuh"
#include "core/reduce.cuh"

namespace yolox_ops {
namespace {

// Threads that mark a tile, and anchors of each.
constexpr int kMarkers = 512;
constexpr int kEach = 2;
constexpr int kTile = kMarkers * kEach;
constexpr int kLanes = 32;
constexpr int kGroup = kLanes * kEach;   // neighbours
constexpr int kChunks = kTile / kLanes;  // of a tile, at most

// The anchor that is number i of a tile; there are so many only below N.
__device__ __forceinline__ int64_t anchor_of(int64_t tiles, int64_t tile, int i) {
  return (i / kGroup * tiles + tile) * kGroup + i % kGroup;
}

// An anchor that is a candidate, and what it brings to the cost of all its pairs.
template <class T>
struct Candidate {
  Box<T> box;
  T x, y, reach;
  Score<T> score;
  int32_t anchor;
};

// 32 candidates; what a lane reads of them lies beside its neighbours'.
template <class T>
struct Chunk {
  struct alignas(16) Corners {
    T x1, y1, x2, y2;
  };
  struct alignas(16) Place {
    T area, x, y, reach;
  };
  struct alignas(16) Value {
    Score<T> score;
  };

  Corners corners[kLanes];
  Place places[kLanes];
  Value values[kLanes];
  int32_t anchors[kLanes];

  __device__ __forceinline__ Candidate<T> at(int lane) const {
    const Corners c = corners[lane];
    const Place p = places[lane];
    return {{c.x1, c.y1, c.x2, c.y2, p.area, T(0)}, p.x, p.y, p.reach, values[lane].score, anchors[lane]};
  }
};

template <class T>
struct CandidateLists {
  int64_t tiles;
  Chunk<T>* chunks;  // [B, tiles, kChunks]
  int32_t* counts;   // [B, tiles], of candidates
};

// What the first launches prepare besides, null where it is not wanted: simota's claims, of which there are none yet,
// and the rows of simota_cost's matrices that no ground truth has.
template <class T>
struct Besides {
  Claim* claims;    // [B, N]
  int64_t* num_fg;  // [B]
  double* costs;    // [B, G, N]
  T* overlaps;      // [B, G, N]
};

// Threads of a block that write padding; they suffice for the memory.
constexpr int kPadders = 128;

// Padding costs from this row on are left to describe, which moves less than mark.
template <class T, class Dtypes>
__device__ __forceinline__ int64_t end_of_marked_padding(const Batch<T, Dtypes>& batch, int64_t b) {
  return batch.G - (batch.G - batch.count_gts(b)) / 4;
}

// Writes `value` to rows of a matrix of image b, by the first kPadders threads of each of its blocks.
template <class V, class T, class Dtypes>
__device__ __forceinline__ void fill_rows(const Batch<T, Dtypes>& batch,
                                          V* matrix,  // [B, G, N]
                                          int64_t b, int64_t first_row, int64_t end_row, V value) {
  constexpr int kVector = 16 / sizeof(V);
  struct alignas(16) Vector {
    V values[kVector];
  };
  Vector vector;
  for (V& element : vector.values) element = value;
  V* const begin = matrix + (b * batch.G + first_row) * batch.N;
  V* const end = matrix + (b * batch.G + end_row) * batch.N;
  // Vectors, up to where less than one is left, from the first address that may have one.
  const int64_t before = -(reinterpret_cast<intptr_t>(begin) / static_cast<int64_t>(sizeof(V))) & (kVector - 1);
  const int64_t thread = blockIdx.x * int64_t{kPadders} + threadIdx.x, threads = gridDim.x * int64_t{kPadders};
  V* at = begin + before + thread * kVector;
  for (; at + kVector <= end; at += threads * kVector) *reinterpret_cast<Vector*>(at) = vector;
  for (; at < end; ++at) *at = value;
  if (thread < before && begin + thread < end) begin[thread] = value;
}

__device__ __forceinline__ int lane_of() { return threadIdx.x % kLanes; }

// Calls visit(chunk, n) for the chunks of image b that are this share's, of `shares` in all; n is how many candidates a
// chunk has. All lanes of a warp call it together. Returns how many candidates the image has.
template <class T, class Visit>
__device__ __forceinline__ int32_t each_chunk(const CandidateLists<T>& lists, int64_t b, int share, int shares,
                                              const Visit& visit) {
  int32_t size = 0;
  for (int64_t first = 0; first < lists.tiles; first += kLanes) {
    const int tiles = static_cast<int>(min(int64_t{kLanes}, lists.tiles - first));
    const int32_t count = lane_of() < tiles ? lists.counts[b * lists.tiles + first + lane_of()] : 0;
    const int slots = (warp_max(count) + kLanes - 1) / kLanes * tiles;
    size += warp_sum(count);
    for (int slot = share; slot < slots; slot += shares) {
      const int chunk = slot / tiles, tile = slot - chunk * tiles;
      const int32_t n = __shfl_sync(kAllLanes, count, tile) - chunk * kLanes;
      if (n > 0) visit(lists.chunks[(b * lists.tiles + first + tile) * kChunks + chunk], min(n, int32_t{kLanes}));
    }
  }
  return size;
}

// Calls visit(candidate) for this thread's share of the candidates of image b; by a block. Returns how many there are.
template <class T, class Visit>
__device__ __forceinline__ int32_t each_candidate(const CandidateLists<T>& lists, int64_t b, const Visit& visit) {
  const int warp = threadIdx.x / kLanes, warps = blockDim.x / kLanes;
  return each_chunk(lists, b, warp, warps, [&](const Chunk<T>& chunk, int32_t n) {
    if (lane_of() < n) visit(chunk.at(lane_of()));
  });
}

template <class T, class Dtypes>
__device__ __forceinline__ bool is_inside(const Batch<T, Dtypes>& batch, const Candidate<T>& c, const Truth<T>& gt) {
  return classify_anchor(c.x, c.y, c.reach, gt.target, batch.rule.candidates).inside;
}

// The cost of a pair without the penalty.
template <class T, class Dtypes>
__device__ __forceinline__ T cost_of(const Batch<T, Dtypes>& batch, int64_t b, const Candidate<T>& c,
                                     const Truth<T>& gt, T overlap) {
  return pair_cost(overlap, batch.cls_logits.at(b, c.anchor, gt.label), c.score, batch.without_obj(), batch.rule);
}

// The same with the penalty where there is one.
template <class T, class Dtypes>
__device__ __forceinline__ double full_cost_of(const Batch<T, Dtypes>& batch, int64_t b, const Candidate<T>& c,
                                               const Truth<T>& gt, T overlap) {
  const double cost = cost_of(batch, b, c, gt, overlap);
  return cost + (is_inside(batch, c, gt) ? 0.0 : batch.rule.outside_penalty);
}

}  // namespace
}  // namespace yolox_ops
