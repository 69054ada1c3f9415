// The boxes of a batch as soft-NMS's kernels read them, and what a selected box does to the others.
#pragma once

#include <functional>

#include "boxes/spatial_order.h"
#include "core/reduce.cuh"
#include "nms/rule.h"

namespace yolox_ops {
namespace {

// Boxes of a label that a warp holds, one a lane; more of them get a block.
constexpr int kWarp = 32;

// The score of a box that is not selected, below every score that is.
constexpr int kUnselected = -1;

// What is kept of N boxes in slots, so that it needs not be gathered again.
__host__ __device__ constexpr int64_t kept_numbers(int64_t N) { return (N + kWarp - 1) / kWarp * (6 * kWarp); }

// The boxes of an image and what is left of their scores, as they are kept: of each 32 the members lie side by side,
// one after another.
template <class T>
struct KeptBoxes {
  T* numbers;

  __device__ __forceinline__ T* members(int32_t slot) const {
    const uint32_t row = static_cast<uint32_t>(slot) / kWarp, column = static_cast<uint32_t>(slot) % kWarp;
    return numbers + (row * (6 * kWarp) + column);
  }
  __device__ __forceinline__ void set(int32_t slot, const Box<T>& box, T score) const {
    T* p = members(slot);
    p[0] = box.x1;
    p[kWarp] = box.y1;
    p[2 * kWarp] = box.x2;
    p[3 * kWarp] = box.y2;
    p[4 * kWarp] = box.area;
    p[5 * kWarp] = score;
  }
  // What is left of a score, NaN when the box is gone.
  __device__ __forceinline__ T& score(int32_t slot) const { return members(slot)[5 * kWarp]; }
  __device__ __forceinline__ Box<T> operator[](int32_t slot) const {
    const T* p = members(slot);
    return {p[0], p[kWarp], p[2 * kWarp], p[3 * kWarp], p[4 * kWarp], T(0)};
  }
};

// Boxes of a label lie in slots one after another.
template <class T>
struct Boxes {
  int64_t B, N;
  const T* boxes;         // [B, N, 4]
  const T* scores;        // [B, N]
  const int64_t* labels;  // [B, N] by slot, or null: all alike
  const int64_t* order;   // [B, N], the box in a slot, or null: the slot itself
  Format format;
  NmsRule<T> rule;
  T* selected;    // [B, N] by box
  T* kept_boxes;  // [B, kept_numbers(N)]

  __device__ __forceinline__ int64_t box_in(int64_t b, int64_t slot) const {
    return order ? order[b * N + slot] : slot;
  }
  __device__ __forceinline__ Box<T> load(int64_t b, int64_t box) const {
    return load_box(boxes + (b * N + box) * 4, format, Kind::kIou);
  }
  __device__ __forceinline__ KeptBoxes<T> kept(int64_t b) const { return {kept_boxes + b * kept_numbers(N)}; }
  __device__ __forceinline__ int64_t label(int64_t b, int64_t slot) const { return labels ? labels[b * N + slot] : 0; }
  __device__ __forceinline__ bool begins(int64_t b, int64_t slot) const {
    return slot < N && (slot == 0 || label(b, slot) != label(b, slot - 1));
  }
  // Labels lie together, so a label fills a warp if a warp's width further on it is still there.
  __device__ __forceinline__ bool is_large(int64_t b, int64_t slot) const {
    return slot + kWarp < N && label(b, slot + kWarp) == label(b, slot);
  }
};

// Who comes first: the larger score, and of equal ones the lower index. Index -1 is nobody.
template <class T>
struct Leader {
  T score;
  int32_t index, slot;

  __device__ __forceinline__ bool before(const Leader& other) const {
    if (index < 0 || other.index < 0) return index >= 0;
    return score != other.score ? score > other.score : index < other.index;
  }
};
template <class T>
__device__ __forceinline__ Leader<T> first_of(const Leader<T>& a, const Leader<T>& b) {
  return b.before(a) ? b : a;
}
// The same of a warp. Only equal scores ask for indices.
template <class T>
__device__ __forceinline__ Leader<T> first_of_warp(const Leader<T>& mine) {
  const T score = mine.index < 0 ? -std::numeric_limits<T>::infinity() : mine.score;
  const T most = warp_reduce(score, [](T a, T b) { return upper(a, b); });
  const uint32_t best = __ballot_sync(kAllLanes, mine.index >= 0 && score == most);
  if (best == 0) return {T(0), -1, 0};
  return (best & (best - 1)) == 0 ? of_lane(mine, __ffs(best) - 1) : warp_reduce(mine, first_of<T>);
}

// The score after the box `chosen` was selected; NaN when it falls below the threshold.
template <class T>
__device__ __forceinline__ T decayed(const NmsRule<T>& rule, const Box<T>& chosen, const Box<T>& box, T score,
                                     T scale) {
  const T overlap = iou(chosen, box);
  if (!(overlap > rule.limit())) return score;
  const T factor = rule.method == Method::kHard     ? weight<Method::kHard>(overlap, scale)
                   : rule.method == Method::kLinear ? weight<Method::kLinear>(overlap, scale)
                                                    : weight<Method::kGaussian>(overlap, scale);
  const T lower = score * factor;
  return lower >= rule.score_threshold ? lower : T(NAN);
}

// Of the scores that are left.
template <class T>
struct Sum {
  double scores, count;

  __device__ __forceinline__ T mean() const { return static_cast<T>(scores / count); }
};
template <class T>
__device__ __forceinline__ Sum<T> operator+(const Sum<T>& a, const Sum<T>& b) {
  return {a.scores + b.scores, a.count + b.count};
}

}  // namespace
}  // namespace yolox_ops
