// The pairs of a batch as ota's kernels keep them, and the launch that finds them. A ground truth of up to kListed
// pairs that can have mass has a list of them; one of more, as one that has none in its own region and so has all
// anchors, has a row of costs, of which an image holds kWideRows; what a ground truth has beyond these is costed anew
// whenever it is asked for.
#pragma once

#include "assign/batch.cuh"
#include "assign/select.cuh"
#include "transport/ota.h"

namespace yolox_ops {
namespace {

// Threads that find the pairs of one ground truth.
constexpr int kFinders = 128;
// Overlaps that they keep in shared memory; what exceeds that is computed anew in every round.
constexpr int kKept = 1024;
// Pairs that a ground truth's list holds, and rows of costs that are kept of an image.
constexpr int kListed = 128;
constexpr int64_t kWideRows = 16;

enum class Reach : int32_t { kNone, kListed, kWide };

// A ground truth: what pairs it has, and how many anchors it supplies.
struct OtaRow {
  Reach reach;
  int32_t pairs;  // in its list
  int32_t slot;   // its row of costs
  int32_t k;
  bool far;  // all anchors are its pairs, and all cost kOutsidePenalty more
};

template <class T>
struct OtaPairs {
  Batch<T> batch;
  OtaRule rule;
  int64_t slots;  // rows of costs of an image
  // The workspace.
  OtaRow* rows;      // [B, G]
  int32_t* anchors;  // [B, G, kListed], ascending
  T* costs;          // [B, G, kListed]
  T* wide;           // [B, slots, N]; infinite where there is no pair
  int32_t* taken;    // [B], slots

  __device__ T* point_at_wide_row(int64_t b, const OtaRow& row) const {
    return wide + (b * slots + row.slot) * batch.N;
  }

  __device__ __forceinline__ bool inside(const Truth<T>& gt, int64_t anchor) const {
    const T x = batch.anchor_points.at(anchor, 0), y = batch.anchor_points.at(anchor, 1);
    const T reach = reach_of(batch.strides.at(anchor), batch.rule);
    return classify_anchor(x, y, reach, gt.target, batch.rule.candidates).inside;
  }

  __device__ __forceinline__ T overlap(int64_t b, const Truth<T>& gt, int64_t anchor) const {
    return iou(gt.box, batch.read_box(b, anchor));
  }

  __device__ __forceinline__ T cost(int64_t b, const Truth<T>& gt, int64_t anchor, T overlap) const {
    const T logit = batch.cls_logits.at(b, anchor, gt.label);
    return transport_cost(overlap, logit, batch.read_objectness(b, anchor), batch.without_obj(), rule);
  }

  // In a wide row; infinite if that is no pair.
  __device__ __forceinline__ T compute_wide_cost(int64_t b, const Truth<T>& gt, bool far, int64_t anchor) const {
    return far || inside(gt, anchor) ? cost(b, gt, anchor, overlap(b, gt, anchor)) : T(INFINITY);
  }

  __device__ __forceinline__ T read_wide_cost(int64_t b, int64_t g, const OtaRow& row, int64_t anchor) const {
    if (row.slot < slots) return point_at_wide_row(b, row)[anchor];
    return compute_wide_cost(b, batch.read_gt(b, g), row.far, anchor);
  }
};

// Overlaps of a ground truth with the anchors in its own region.
template <class T>
struct OverlapsInside {
  const OtaPairs<T>& p;
  int64_t b;
  const Truth<T>& gt;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    for (int64_t j = threadIdx.x; j < p.batch.N; j += kFinders) {
      if (p.inside(gt, j)) visit(p.overlap(b, gt, j));
    }
  }
};

// An anchor that a ground truth has a pair with.
template <class T>
struct Partner {
  int32_t anchor;
  T cost;
};

// Lists the overlaps with the anchors in the ground truth's own region, and the pairs with them that can have mass.
template <class T>
__device__ __forceinline__ void list_inside(const OtaPairs<T>& p, int64_t b, const Truth<T>& gt,
                                            Shortlist<T, kKept>& overlaps, Shortlist<Partner<T>, kListed>& partners) {
  __syncthreads();  // until the lists before are read
  overlaps.clear();
  partners.clear();
  __syncthreads();
  for (int64_t j = threadIdx.x; j < p.batch.N; j += kFinders) {
    if (!p.inside(gt, j)) continue;
    const T overlap = p.overlap(b, gt, j);
    if (overlap > T(0)) overlaps.push(overlap);
    const T cost = p.cost(b, gt, j, overlap);
    if (is_finite(cost)) partners.push({static_cast<int32_t>(j), cost});
  }
  __syncthreads();
}

// Writes the list of a ground truth, its anchors ascending.
template <class T>
__device__ __forceinline__ void write_list(const Shortlist<Partner<T>, kListed>& partners,
                                           int32_t* anchors,  // [kListed]
                                           T* costs) {        // [kListed]
  partners.each([&](const Partner<T>& partner) {
    int32_t slot = 0;
    for (int32_t i = 0; i < partners.count; ++i) slot += partners.items[i].anchor < partner.anchor;
    anchors[slot] = partner.anchor;
    costs[slot] = partner.cost;
  });
}

// Writes a row of costs if the image keeps it. Returns whether it has a pair.
template <class T>
__device__ __forceinline__ bool write_wide_row(const OtaPairs<T>& p, int64_t b, const Truth<T>& gt, const OtaRow& row) {
  bool any = false;
  for (int64_t j = threadIdx.x; j < p.batch.N; j += kFinders) {
    const T cost = p.compute_wide_cost(b, gt, row.far, j);
    any |= is_finite(cost);
    if (row.slot < p.slots) p.point_at_wide_row(b, row)[j] = cost;
  }
  return __syncthreads_or(any);
}

// A block finds the pairs of one ground truth.
template <class T>
__global__ void __launch_bounds__(kFinders, 4) find_pairs(OtaPairs<T> p) {
  __shared__ Shortlist<T, kKept> overlaps;
  __shared__ Shortlist<Partner<T>, kListed> partners;
  __shared__ int32_t slot;
  const Batch<T>& batch = p.batch;
  for (int64_t b = blockIdx.y; b < batch.B; b += gridDim.y) {
    const int64_t gts = batch.count_gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      const Truth<T> gt = batch.read_gt(b, g);
      OtaRow& row = p.rows[b * batch.G + g];
      if (threadIdx.x == 0) row = {Reach::kNone, 0, 0, 0, false};
      if (!gt.real) continue;

      list_inside(p, b, gt, overlaps, partners);
      const T sum = sum_largest_by_block<kFinders>(overlaps, OverlapsInside<T>{p, b, gt}, batch.rule.topk);
      const int32_t k = static_cast<int32_t>(dynamic_k(sum, batch.N, false));
      if (partners.count > 0 && partners.complete()) {
        const int64_t first = (b * batch.G + g) * kListed;
        write_list(partners, p.anchors + first, p.costs + first);
        if (threadIdx.x == 0) row = {Reach::kListed, partners.count, 0, k, false};
      } else {
        if (threadIdx.x == 0) slot = atomicAdd(p.taken + b, 1);
        __syncthreads();
        const OtaRow wide{Reach::kWide, 0, slot, k, partners.count == 0};
        if (write_wide_row(p, b, gt, wide) && threadIdx.x == 0) row = wide;
      }
    }
  }
}

}  // namespace
}  // namespace yolox_ops
