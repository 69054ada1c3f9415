// How a label's boxes form groups of neighbours, and which groups a box reaches. Two launches do it for all boxes at
// once before a block selects among them. In the first a warp keeps the boxes of a group, and their hull; in the second
// it serves a few boxes: its lanes test the hulls of 32 groups, then the boxes of those that are met. Both are bound by
// the latency of memory: 2.4 and 6.6 modelled us for 5,000 boxes of a label on an H200; issue slots alone take 3.5.
#pragma once

#include "core/search.cuh"
#include "nms/boxes.cuh"

namespace yolox_ops {
namespace {

// Boxes that a warp tests side by side.
constexpr int kSideBySide = 4;
constexpr int kReachThreads = 256;

// Boxes of a group among n, so that all warps have some, and then all lanes.
__host__ __device__ constexpr int32_t boxes_of_group(int32_t n) {
  const int32_t fewest = (n + kGroups - 1) / kGroups, shared_out = (n + kWarps - 1) / kWarps;
  return fewest > kWarp ? fewest : shared_out < kWarp ? shared_out : kWarp;
}

// The slots of a label.
struct Label {
  int32_t begin, end;
  bool is_large;  // a block selects among its boxes; else only those slots of it are known that a warp sees
};

// By a warp: the label that a slot lies in; with `in_order` all boxes of an image count as one.
template <class T>
__device__ __forceinline__ Label label_at(const Boxes<T>& in, int64_t b, int32_t slot, bool in_order) {
  const auto N = static_cast<int32_t>(in.N);
  if (in_order || in.labels == nullptr) return {0, N, in_order || N > kWarp};
  const int32_t lane = threadIdx.x % kWarp, low = slot - 1 - lane, high = slot + 1 + lane;
  const int64_t label = in.label(b, slot);
  const int before = __popc(__ballot_sync(kAllLanes, low >= 0 && in.label(b, low) == label));
  const int after = __popc(__ballot_sync(kAllLanes, high < N && in.label(b, high) == label));
  if (before + after < kWarp) return {slot - before, slot + 1 + after, false};
  return {first_where_by_warp(0, slot, [&](int32_t other) { return in.label(b, other) == label; }),
          first_where_by_warp(slot + 1, N, [&](int32_t other) { return in.label(b, other) != label; }), true};
}

// Gives each warp of a grid of (warps of an image, images) `count` slots after another, and calls visit(b, label,
// first, last) for the slots [first, last) of each large label among them. If it is `known` which images have any,
// others are passed over.
template <bool known, class T, class Visit>
__device__ __forceinline__ void each_large(const Boxes<T>& in, int32_t count, bool in_order, const Visit& visit) {
  const auto N = static_cast<int32_t>(in.N), step = static_cast<int32_t>(gridDim.x * (kReachThreads / kWarp)) * count;
  const auto warp = static_cast<int32_t>((blockIdx.x * kReachThreads + threadIdx.x) / kWarp);
  for (int64_t b = blockIdx.y; b < in.B; b += gridDim.y) {
    if (known && !in_order && !in.has_large(b)) continue;
    for (int32_t begin = warp * count; begin < N; begin += step) {
      const int32_t end = min(N, begin + count);
      for (int32_t slot = begin; slot < end;) {
        const Label label = label_at(in, b, slot, in_order);
        const int32_t last = min(end, label.end);
        if (label.is_large) visit(b, label, slot, last);
        slot = last;
      }
    }
  }
}

// By a warp: keeps the boxes of the slots [from, to), a group, and their hull.
template <class T>
__device__ __forceinline__ void keep_group(const Boxes<T>& in, int64_t b, int32_t from, int32_t to) {
  Box<T> hull = empty_hull<T>();
  for (int32_t slot = from + static_cast<int32_t>(threadIdx.x % kWarp); slot < to; slot += kWarp) {
    const int64_t index = in.box_in(b, slot);
    const Box<T> box = in.load(b, index);
    const T score = in.scores[b * in.N + index];
    in.picked[b * in.N + slot] = T(kUnselected);
    in.kept(b)[slot].set(box, score >= in.rule.score_threshold ? score : T(NAN));
    if (can_overlap(box)) hull = HullOf()(hull, box);
  }
  hull = {warp_min(hull.x1), warp_min(hull.y1), warp_max(hull.x2), warp_max(hull.y2), T(0), T(0)};
  if (threadIdx.x % kWarp == 0) in.hull(b, from).set(hull);
}

// A warp keeps the groups that begin among its slots.
template <class T>
__global__ void __launch_bounds__(kReachThreads) keep_groups(Boxes<T> in, bool in_order) {
  each_large<false>(in, kWarp, in_order, [&](int64_t b, const Label& label, int32_t first, int32_t last) {
    if (!in_order && in.labels != nullptr && threadIdx.x % kWarp == 0) atomicOr(&in.large[b], 1);
    const int32_t share = boxes_of_group(label.end - label.begin);
    int32_t from = label.begin + (first - label.begin + share - 1) / share * share;
    for (; from < last; from += share) keep_group(in, b, from, min(label.end, from + share));
  });
}

// By a warp: whether any of a group's boxes meets each of a few.
template <class T>
__device__ __forceinline__ void test_group(const KeptBoxes<T>& kept, int32_t from, int32_t to,
                                           const Box<T> (&own)[kSideBySide], bool (&met)[kSideBySide]) {
  for (int k = 0; k < kSideBySide; ++k) met[k] = false;
  for (int32_t slot = from + static_cast<int32_t>(threadIdx.x % kWarp); slot < to; slot += kWarp) {
    const Box<T> other = kept[slot].box();
    for (int k = 0; k < kSideBySide; ++k) met[k] |= meets(own[k], other);
  }
}

// By a warp: which groups of a label hold a box that meets the ones in the slots [first, last) of it.
template <class T>
__device__ __forceinline__ void write_reach(const Boxes<T>& in, int64_t b, const Label& label, int32_t first,
                                            int32_t last) {
  const int lane = threadIdx.x % kWarp;
  const int32_t n = label.end - label.begin, share = boxes_of_group(n), groups = (n + share - 1) / share;
  const KeptBoxes<T> kept = in.kept(b);
  Box<T> own[kSideBySide];
  for (int k = 0; k < kSideBySide; ++k) own[k] = kept[min(first + k, last - 1)].box();
  for (int32_t begin = 0; begin < groups; begin += kWarp) {
    const Box<T> hull = in.hull(b, label.begin + min(begin + lane, groups - 1) * share).box();
    bool is_near = false;
    for (int k = 0; k < kSideBySide; ++k) is_near |= meets(hull, own[k]);
    uint32_t reached[kSideBySide] = {};
    for (uint32_t open = __ballot_sync(kAllLanes, is_near && begin + lane < groups); open; open &= open - 1) {
      const int place = __ffs(open) - 1;
      const int32_t from = label.begin + (begin + place) * share;
      bool met[kSideBySide];
      test_group(kept, from, min(label.end, from + share), own, met);
      for (int k = 0; k < kSideBySide; ++k) {
        if (__ballot_sync(kAllLanes, met[k]) != 0) reached[k] |= 1u << place;
      }
    }
    for (int k = 0; k < kSideBySide; ++k) {
      if (lane == 0 && first + k < last) in.reach(b, first + k)[begin / kWarp] = reached[k];
    }
  }
}

// A warp serves a few slots.
template <class T>
__global__ void __launch_bounds__(kReachThreads) find_reach(Boxes<T> in, bool in_order) {
  each_large<true>(in, kSideBySide, in_order, [&](int64_t b, const Label& label, int32_t first, int32_t last) {
    write_reach(in, b, label, first, last);
  });
}

}  // namespace
}  // namespace yolox_ops
