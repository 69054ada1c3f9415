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

// The groups of neighbours that a label's boxes form, at most; a block's warps share them.
constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;
constexpr int kGroups = 8 * kWarps;
// The groups that a box reaches are so many words of bits.
constexpr int kReachWords = kGroups / kWarp;

// The score of a box that is not selected, below every score that is.
constexpr int kUnselected = -1;

// What is kept of N boxes in slots, so that it needs not be gathered again.
__host__ __device__ constexpr int64_t kept_numbers(int64_t N) { return (N + kWarp - 1) / kWarp * (6 * kWarp); }

// An address that 32 bits lead to: half of the instructions of one by 64.
template <class V>
__device__ __forceinline__ V* at_bytes(V* base, uint32_t bytes) {
  return reinterpret_cast<V*>(reinterpret_cast<uintptr_t>(base) + bytes);
}

// Boxes of an image whose kept numbers 32 bits still reach.
constexpr int64_t kMostBoxes = int64_t{1} << 26;

// A box and what is left of its score, as they are kept: of each 32 boxes the members lie side by side.
template <class T>
struct KeptBox {
  T* members;

  __device__ __forceinline__ Box<T> box() const {
    return {members[0], members[kWarp], members[2 * kWarp], members[3 * kWarp], members[4 * kWarp], T(0)};
  }
  // NaN when the box is gone.
  __device__ __forceinline__ T& score() const { return members[5 * kWarp]; }
  __device__ __forceinline__ void set(const Box<T>& box, T score) const {
    members[0] = box.x1;
    members[kWarp] = box.y1;
    members[2 * kWarp] = box.x2;
    members[3 * kWarp] = box.y2;
    members[4 * kWarp] = box.area;
    members[5 * kWarp] = score;
  }
};

// Those of an image, by slot.
template <class T>
struct KeptBoxes {
  T* numbers;

  __device__ __forceinline__ KeptBox<T> operator[](int32_t slot) const {
    const uint32_t row = static_cast<uint32_t>(slot) / kWarp, column = static_cast<uint32_t>(slot) % kWarp;
    return {at_bytes(numbers, (row * (6 * kWarp) + column) * uint32_t{sizeof(T)})};
  }
};

// The corners of a hull, as they are kept.
template <class T>
struct KeptHull {
  T* numbers;  // [4]

  __device__ __forceinline__ void set(const Box<T>& hull) const {
    numbers[0] = hull.x1;
    numbers[1] = hull.y1;
    numbers[2] = hull.x2;
    numbers[3] = hull.y2;
  }
  __device__ __forceinline__ Box<T> box() const { return {numbers[0], numbers[1], numbers[2], numbers[3], T(0), T(0)}; }
};

// Who comes first, by slot; nobody's score is NaN.
template <class T>
struct Lead {
  T score;
  int32_t slot;
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
  T* selected;        // [B, N] by box
  int32_t* large;     // [B], whether any label of an image is large
  T* picked;          // [B, N] by slot, of large labels: with what score a box was selected
  T* kept_boxes;      // [B, kept_numbers(N)]
  T* hulls;           // [B, N, 4] by slot: of a group that begins there, without boxes that overlap nothing
  uint32_t* reached;  // [B, N, kReachWords] by slot: the groups of its label that hold a box that meets it, as bits

  __device__ __forceinline__ int64_t box_in(int64_t b, int64_t slot) const {
    return order ? order[b * N + slot] : slot;
  }
  __device__ __forceinline__ Box<T> load(int64_t b, int64_t box) const {
    return load_box(boxes + (b * N + box) * 4, format, Kind::kIou);
  }
  __device__ __forceinline__ KeptBoxes<T> kept(int64_t b) const { return {kept_boxes + b * kept_numbers(N)}; }
  __device__ __forceinline__ KeptHull<T> hull(int64_t b, int64_t slot) const { return {hulls + (b * N + slot) * 4}; }
  __device__ __forceinline__ uint32_t* reach(int64_t b, int64_t slot) const {
    return reached + (b * N + slot) * kReachWords;
  }
  __device__ __forceinline__ int64_t label(int64_t b, int64_t slot) const { return labels ? labels[b * N + slot] : 0; }
  __device__ __forceinline__ bool begins(int64_t b, int64_t slot) const {
    return slot < N && (slot == 0 || label(b, slot) != label(b, slot - 1));
  }
  // Whether an image has a label that a block selects among; keep_groups finds out.
  __device__ __forceinline__ bool has_large(int64_t b) const { return labels == nullptr || large[b] != 0; }
  // The larger score comes first, and of equal ones the lower index.
  __device__ __forceinline__ bool is_before(int64_t b, const Lead<T>& one, const Lead<T>& other) const {
    bool before = one.score > other.score;
    if (one.score == other.score) before = box_in(b, one.slot) < box_in(b, other.slot);
    return before;
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
    const bool is_first = (score > other.score) | ((score == other.score) & (index < other.index));
    return (index >= 0) & ((other.index < 0) | is_first);
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
  const T most = warp_max(score);
  const uint32_t best = __ballot_sync(kAllLanes, mine.index >= 0 && score == most);
  if (best == 0) return {T(0), -1, 0};
  return (best & (best - 1)) == 0 ? of_lane(mine, __ffs(best) - 1) : warp_reduce(mine, first_of<T>);
}

// What the score of a box is multiplied by when the box `chosen` is selected.
template <Method method, class T>
__device__ __forceinline__ T weight_of(const NmsRule<T>& rule, const Box<T>& chosen, const Box<T>& box, T scale) {
  T unite;
  const T inter = intersection(chosen, box, unite);
  if (!(inter > T(0))) return T(1);
  const T overlap = inter / unite;
  return overlap > rule.limit() ? weight<method>(overlap, scale) : T(1);
}

// The score after the box `chosen` was selected; NaN when it falls below the threshold, and if it was.
template <Method method, class T>
__device__ __forceinline__ T decayed(const NmsRule<T>& rule, const Box<T>& chosen, const Box<T>& box, T score,
                                     T scale) {
  T unite;
  const T inter = intersection(chosen, box, unite);
  if (!((inter > T(0)) & (score == score))) return score;
  const T overlap = inter / unite;
  if (!(overlap > rule.limit())) return score;
  const T lower = score * weight<method>(overlap, scale);
  return lower >= rule.score_threshold ? lower : T(NAN);
}

// Calls f with the method, as far as it says how an overlap weighs, as a compile-time constant.
template <class F>
__device__ __forceinline__ void dispatch_weight(Method method, const F& f) {
  if (method == Method::kHard) {
    f.template operator()<Method::kHard>();
  } else if (method == Method::kLinear) {
    f.template operator()<Method::kLinear>();
  } else {
    f.template operator()<Method::kGaussian>();
  }
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
