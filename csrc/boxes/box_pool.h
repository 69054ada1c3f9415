// Finds the largest overlaps of a box with many others, in blocks whose hulls are looked at first.
#pragma once

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "boxes/box_arrays.h"
#include "boxes/spatial_order.h"
#include "core/radix_sort.h"
#include "core/simd.h"

namespace yolox_ops {
namespace {

// Boxes to a block, and hulls that are looked at together.
constexpr int64_t kBlock = 16;
// So many boxes are put in spatial order first, which makes hulls small; fewer are sooner looked at.
constexpr int64_t kCrowd = 1024;

// `top` falls. An overlap larger than its last goes where it belongs, and the last drops out.
template <class T>
YOLOX_OPS_INLINE void insert_overlap(T overlap,
                                     T* top,  // [q]
                                     int64_t q) {
  int64_t rank = q - 1;
  for (; rank > 0 && top[rank - 1] < overlap; --rank) top[rank] = top[rank - 1];
  top[rank] = overlap;
}

// Sum of the q largest overlaps of `gt` with boxes, the largest first. Hull i is that of block i.
template <class T>
YOLOX_OPS_INLINE T sum_largest_overlaps(const Box<T> gt, const BoxView<T> boxes, const BoxView<T> hulls,
                                        int64_t hull_count,
                                        T* top,  // [q]
                                        int64_t q) {
  std::fill_n(top, q, T(0));
  for (int64_t first = 0; first < hull_count; first += kBlock) {
    uint32_t meeting = 0;
#pragma GCC unroll 1
    for (int64_t i = 0; i < kBlock; ++i) {
      meeting |= static_cast<uint32_t>(meets(hulls[first + i], gt)) << i;
    }
    for (; meeting; meeting &= meeting - 1) {
      const int64_t block = (first + std::countr_zero(meeting)) * kBlock;
      T overlap[kBlock];
      int hit = 0;
#pragma GCC unroll 1
      for (int64_t i = 0; i < kBlock; ++i) {
        overlap[i] = iou(gt, boxes[block + i]);
        hit |= overlap[i] > top[q - 1];
      }
      for (int64_t i = 0; hit && i < kBlock; ++i) {
        if (overlap[i] > top[q - 1]) insert_overlap(overlap[i], top, q);
      }
    }
  }
  return std::accumulate(top, top + q, T(0));
}

YOLOX_OPS_SIMD_LOOP(T, sum_largest_overlaps,
                    (const Box<T>& gt, const BoxView<T>& boxes, const BoxView<T>& hulls, int64_t hull_count, T* top,
                     int64_t q),
                    (gt, boxes, hulls, hull_count, top, q));

template <class T>
class BoxPool {
 public:
  // Reuses the memory of the boxes before.
  void fill(const BoxView<T>& boxes, int64_t n) {
    items_.resize(n);
    for (int64_t i = 0; i < n; ++i) items_[i] = {0, static_cast<int32_t>(i)};
    if (n >= kCrowd) put_in_spatial_order(boxes, n);
    const int64_t hulls = (n + kBlock * kBlock - 1) / (kBlock * kBlock) * kBlock;
    boxes_.resize(hulls * kBlock);
    hulls_.resize(hulls);
    for (int64_t block = 0; block < hulls; ++block) {
      Box<T> hull = empty_hull<T>();
      for (int64_t i = block * kBlock; i < (block + 1) * kBlock; ++i) {
        const Box<T> box = i < n ? boxes[items_[i].index] : empty_hull<T>();
        boxes_.set(i, box);
        hull = HullOf()(box, hull);
      }
      hulls_.set(block, hull);
    }
  }

  // As above. NaN and what overlaps nothing add nothing.
  T sum_largest_overlaps(const Box<T>& gt,
                         T* top,  // [q]
                         int64_t q) const {
    return simd_sum_largest_overlaps(gt, boxes_.view(), hulls_.view(), hulls_.size(), top, q);
  }

 private:
  void put_in_spatial_order(const BoxView<T>& boxes, int64_t n) {
    Box<T> span = empty_hull<T>();
    for (int64_t i = 0; i < n; ++i) span = span_of(span, boxes[i]);
    const SpatialOrder<T> order(span, n, kBlock);
    for (Item& item : items_) item.key = static_cast<uint64_t>(order(boxes[item.index]));
    spare_.resize(n);
    sort_by_key(items_.data(), spare_.data(), n);
  }

  std::vector<Item> items_, spare_;
  BoxArrays<T> boxes_, hulls_;
};

}  // namespace
}  // namespace yolox_ops
