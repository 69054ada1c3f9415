// The launch that marks candidates. A block has a tile of anchors, a warp groups of 64 neighbours: its lanes test 32
// ground truths against the group's extent, and only those that may reach it meet its anchors. Rounding is monotone, so
// a ground truth that reaches an anchor reaches the extent.
#pragma once

#include "assign/candidates.cuh"

namespace yolox_ops {
namespace {

// The anchors of a group that a lane has.
template <class T>
struct Anchors {
  int64_t first;  // the others follow at a distance of kLanes
  T x[kEach], y[kEach], reach[kEach];
  bool exists[kEach], candidate[kEach];

  __device__ __forceinline__ int64_t index(int i) const { return first + i * kLanes; }
};

// Around the centres of a warp's anchors, and the farthest reach of any.
template <class T>
struct Extent {
  T x1, y1, x2, y2, reach;
};

template <class T, class Dtypes>
__device__ __forceinline__ Anchors<T> read_anchors(const Batch<T, Dtypes>& batch, int64_t tiles, int64_t tile) {
  Anchors<T> anchors;
  anchors.first = anchor_of(tiles, tile, threadIdx.x / kLanes * kGroup + lane_of());
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int64_t anchor = min(anchors.index(i), batch.N - 1);
    anchors.x[i] = batch.anchor_points.at(anchor, 0);
    anchors.y[i] = batch.anchor_points.at(anchor, 1);
    anchors.reach[i] = batch.read_reach(anchor);
    anchors.exists[i] = anchors.index(i) < batch.N && anchors.x[i] == anchors.x[i] && anchors.y[i] == anchors.y[i];
    anchors.candidate[i] = false;
  }
  return anchors;
}

template <class T>
__device__ __forceinline__ Extent<T> measure_extent(const Anchors<T>& anchors) {
  Extent<T> extent{T(INFINITY), T(INFINITY), -T(INFINITY), -T(INFINITY), T(0)};
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    if (!anchors.exists[i]) continue;
    extent.x1 = smaller(extent.x1, anchors.x[i]);
    extent.y1 = smaller(extent.y1, anchors.y[i]);
    extent.x2 = larger(extent.x2, anchors.x[i]);
    extent.y2 = larger(extent.y2, anchors.y[i]);
    extent.reach = larger(anchors.reach[i], extent.reach);
  }
  return {warp_min(extent.x1), warp_min(extent.y1), warp_max(extent.x2), warp_max(extent.y2), warp_max(extent.reach)};
}

template <class T>
__device__ __forceinline__ bool may_reach(const Target<T>& gt, const Extent<T>& extent, Candidates candidates) {
  if (candidates == Candidates::kAll) return true;
  const bool box = candidates == Candidates::kBoxOrCenter;
  const T w = box ? larger(extent.reach, gt.w * T(0.5)) : extent.reach;
  const T h = box ? larger(extent.reach, gt.h * T(0.5)) : extent.reach;
  return (extent.x2 > gt.cx - w) & (extent.x1 < gt.cx + w) & (extent.y2 > gt.cy - h) & (extent.y1 < gt.cy + h);
}

// Marks the anchors that `gt` makes candidates. Returns whether all are candidates now.
template <class T>
__device__ __forceinline__ bool mark_anchors(Anchors<T>& anchors, const Target<T>& gt, Candidates candidates) {
  bool all = true;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    anchors.candidate[i] |= classify_anchor(anchors.x[i], anchors.y[i], anchors.reach[i], gt, candidates).candidate;
    all &= anchors.candidate[i] | !anchors.exists[i];
  }
  return all;
}

template <class T, class Dtypes>
__device__ __forceinline__ void find_candidates(const Batch<T, Dtypes>& batch, int64_t b, int64_t gts,
                                                Anchors<T>& anchors) {
  const Candidates candidates = batch.rule.candidates;
  const Extent<T> extent = measure_extent(anchors);
  for (int64_t first = 0; first < gts; first += kLanes) {
    const int64_t g = first + lane_of();
    const Truth<T> gt = batch.read_gt(b, min(g, gts - 1));
    const bool near = g < gts && gt.real && may_reach(gt.target, extent, candidates);
    for (uint32_t left = __ballot_sync(kAllLanes, near); left; left &= left - 1) {
      const bool all = mark_anchors(anchors, of_lane(gt.target, __ffs(left) - 1), candidates);
      if (candidates == Candidates::kAll && __all_sync(kAllLanes, all)) return;
    }
  }
}

// Lists the candidates of a tile.
template <class T, class Dtypes>
__device__ __forceinline__ void list_candidates(const Batch<T, Dtypes>& batch, const CandidateLists<T>& lists,
                                                int64_t b, int64_t tile, const Anchors<T>& anchors) {
  __shared__ int32_t of_warp[kMarkers / kLanes];
  const int warp = threadIdx.x / kLanes;
  uint32_t found[kEach];
  int32_t mine = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    found[i] = __ballot_sync(kAllLanes, anchors.candidate[i] && anchors.exists[i]);
    mine += __popc(found[i]);
  }
  __syncthreads();  // until the counts before are read
  if (lane_of() == 0) of_warp[warp] = mine;
  __syncthreads();
  const int32_t count = lane_of() < kMarkers / kLanes ? of_warp[lane_of()] : 0, total = warp_sum(count);
  int32_t before = warp_sum(lane_of() < warp ? count : 0);
  Chunk<T>* chunks = lists.chunks + (b * lists.tiles + tile) * kChunks;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int64_t anchor = anchors.index(i);
    const int32_t place = before + __popc(found[i] & ((1u << lane_of()) - 1));
    if (found[i] >> lane_of() & 1) {
      const Box<T> box = batch.read_box(b, anchor);
      Chunk<T>& chunk = chunks[place / kLanes];
      chunk.corners[place % kLanes] = {box.x1, box.y1, box.x2, box.y2};
      chunk.places[place % kLanes] = {box.area, anchors.x[i], anchors.y[i], anchors.reach[i]};
      chunk.anchors[place % kLanes] = static_cast<int32_t>(anchor);
    }
    before += __popc(found[i]);
  }
  if (threadIdx.x == 0) lists.counts[b * lists.tiles + tile] = total;
}

template <class T, class Dtypes>
__global__ void __launch_bounds__(kMarkers, 2)
    mark(Batch<T, Dtypes> batch, CandidateLists<T> lists, Besides<T> besides) {
  for (int64_t b = blockIdx.y; b < batch.B; b += gridDim.y) {
    const int64_t gts = batch.count_gts(b);
    for (int64_t tile = blockIdx.x; tile < lists.tiles; tile += gridDim.x) {
      Anchors<T> anchors = read_anchors(batch, lists.tiles, tile);
      find_candidates(batch, b, gts, anchors);
      list_candidates(batch, lists, b, tile, anchors);
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const int64_t anchor = anchors.index(i);
        if (besides.claims != nullptr && anchor < batch.N) besides.claims[b * batch.N + anchor] = {0, kNoOffer};
      }
      if (besides.num_fg != nullptr && tile == 0 && threadIdx.x == 0) besides.num_fg[b] = 0;
    }
    if (besides.costs == nullptr || threadIdx.x >= kPadders) continue;
    fill_rows<double>(batch, besides.costs, b, gts, end_of_marked_padding(batch, b), INFINITY);
  }
}

}  // namespace
}  // namespace yolox_ops
