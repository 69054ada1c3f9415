// The pairs of a batch as ota's kernels keep them, and the launch that finds them. A ground truth of up to kListed
// pairs that can have mass has a list of them; one of more, as one that has none in its own region and so has all
// anchors, has a row of costs, of which an image holds kWideRows; what a ground truth has beyond these is costed anew
// whenever it is asked for.
#pragma once

#include "assign/candidates.cuh"
#include "assign/select.cuh"
#include "core/shortlist.cuh"
#include "transport/log_sum.cuh"
#include "transport/ota.h"

namespace yolox_ops {
namespace {

// Threads that find the pairs of one ground truth.
constexpr int kFinders = 128;
// Overlaps that they keep in shared memory; what exceeds that is computed anew in every round.
constexpr int kKept = 1024;
constexpr int kListed = 128;
constexpr int64_t kWideRows = 16;

enum class Reach : int32_t { kNone, kListed, kWide };

// A ground truth: what pairs it has, and how many anchors it supplies.
struct Row {
  Reach reach;
  int32_t pairs;  // in its list
  int32_t slot;   // its row of costs
  int32_t k;
  bool far;  // all anchors are its pairs, and all cost kOutsidePenalty more
};

template <class T>
struct Pairs {
  Batch<T> batch;
  OtaRule rule;
  int64_t slots;  // rows of costs of an image
  // The workspace.
  Row* rows;         // [B, G]
  int32_t* anchors;  // [B, G, kListed], ascending
  T* costs;          // [B, G, kListed]
  T* wide;           // [B, slots, N]; infinite where there is no pair
  int32_t* taken;    // [B], slots

  __device__ T* wide_row(int64_t b, const Row& row) const { return wide + (b * slots + row.slot) * batch.N; }

  __device__ __forceinline__ bool inside(const Truth<T>& gt, int64_t anchor) const {
    const T x = batch.anchor_points.at(anchor, 0), y = batch.anchor_points.at(anchor, 1);
    const T reach = reach_of(batch.strides.at(anchor), batch.rule);
    return classify_anchor(x, y, reach, gt.target, batch.rule.candidates).inside;
  }

  __device__ __forceinline__ T overlap(int64_t b, const Truth<T>& gt, int64_t anchor) const {
    T p[4];
    for (int m = 0; m < 4; ++m) p[m] = batch.pred_boxes.at(b, anchor, m);
    return iou(gt.box, load_box(p, Format::kCxcywh, Kind::kIou));
  }

  __device__ __forceinline__ T cost(int64_t b, const Truth<T>& gt, int64_t anchor, T overlap) const {
    const T logit = batch.cls_logits.at(b, anchor, gt.label);
    return transport_cost(overlap, logit, batch.objectness_of(b, anchor), batch.without_obj(), rule);
  }

  // In a wide row; infinite if that is no pair.
  __device__ __forceinline__ T compute_wide_cost(int64_t b, const Truth<T>& gt, bool far, int64_t anchor) const {
    return far || inside(gt, anchor) ? cost(b, gt, anchor, overlap(b, gt, anchor)) : T(INFINITY);
  }

  __device__ __forceinline__ T wide_cost(int64_t b, int64_t g, const Row& row, int64_t anchor) const {
    if (row.slot < slots) return wide_row(b, row)[anchor];
    return compute_wide_cost(b, batch.truth(b, g), row.far, anchor);
  }
};

// A block finds the pairs of one ground truth.
template <class T>
__global__ void __launch_bounds__(kFinders, 4) find_pairs(Pairs<T> p) {
  struct Pair {
    int32_t anchor;
    T cost;
  };
  __shared__ Shortlist<T, kKept> overlaps;
  __shared__ Shortlist<Pair, kListed> pairs;
  __shared__ int32_t slot;
  const Batch<T>& s = p.batch;
  for (int64_t b = blockIdx.y; b < s.B; b += gridDim.y) {
    const int64_t gts = s.gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      const Truth<T> gt = s.truth(b, g);
      Row& row = p.rows[b * s.G + g];
      if (threadIdx.x == 0) row = {Reach::kNone, 0, 0, 0, false};
      if (!gt.real) continue;
      const auto each_inside = [&](const auto& visit) {
        for (int64_t j = threadIdx.x; j < s.N; j += kFinders) {
          if (p.inside(gt, j)) visit(j, p.overlap(b, gt, j));
        }
      };

      __syncthreads();
      if (threadIdx.x == 0) overlaps.count = pairs.count = 0;
      __syncthreads();
      each_inside([&](int64_t j, T overlap) {
        if (overlap > T(0)) overlaps.push(overlap);
        const T cost = p.cost(b, gt, j, overlap);
        if (is_finite(cost)) pairs.push({static_cast<int32_t>(j), cost});
      });
      __syncthreads();
      const auto sum_of = [&](const auto& each) { return sum_largest_by_block<kFinders, T>(each, s.rule.topk); };
      const T sum = overlaps.complete()
                        ? sum_of([&](const auto& visit) { overlaps.each(visit); })
                        : sum_of([&](const auto& visit) { each_inside([&](int64_t, T overlap) { visit(overlap); }); });
      const int32_t k = static_cast<int32_t>(dynamic_k(sum, s.N, false));

      if (pairs.count > 0 && pairs.complete()) {
        pairs.each([&](const Pair& pair) {
          int64_t at = (b * s.G + g) * kListed;
          for (int32_t i = 0; i < pairs.count; ++i) at += pairs.items[i].anchor < pair.anchor;
          p.anchors[at] = pair.anchor;
          p.costs[at] = pair.cost;
        });
        if (threadIdx.x == 0) row = {Reach::kListed, pairs.count, 0, k, false};
        continue;
      }
      if (threadIdx.x == 0) slot = atomicAdd(p.taken + b, 1);
      __syncthreads();
      Row wide{Reach::kWide, 0, slot, k, pairs.count == 0};
      bool any = false;
      for (int64_t j = threadIdx.x; j < s.N; j += kFinders) {
        const T cost = p.compute_wide_cost(b, gt, wide.far, j);
        any |= is_finite(cost);
        if (wide.slot < p.slots) p.wide_row(b, wide)[j] = cost;
      }
      if (__syncthreads_or(any) && threadIdx.x == 0) row = wide;
    }
  }
}

}  // namespace
}  // namespace yolox_ops
