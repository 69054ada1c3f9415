// Soft-NMS among the boxes of one label, by a warp or by a block, in rounds. A box is selected as soon as it leads
// every box that it may overlap: their scores only fall, so none can overtake it, and what one process over all boxes
// selects later cannot touch it. Boxes far apart are selected at the same time.
#pragma once

#include <functional>

#include "boxes/spatial_order.h"
#include "core/reduce.cuh"
#include "nms/rule.h"

namespace yolox_ops {
namespace {

// Boxes of a label that a warp holds, one a lane; more of them get a block.
constexpr int kWarp = 32;
constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;

// The score of a box that is not selected, below every score that is.
constexpr int kUnselected = -1;

template <class T>
struct Boxes {
  int64_t B, N;
  const T* boxes;         // [B, N, 4]
  const T* scores;        // [B, N]
  const int64_t* labels;  // [B, N] by place, or null: all alike
  const int64_t* order;   // [B, N], the box at a place, or null: the place itself
  Format format;
  NmsRule<T> rule;
  T* current;   // [B, N] by place: what is left of a score, NaN when the box is gone
  T* selected;  // [B, N] by box

  __device__ __forceinline__ int64_t box_at(int64_t b, int64_t place) const {
    return order ? order[b * N + place] : place;
  }
  __device__ __forceinline__ Box<T> load(int64_t b, int64_t box) const {
    return load_box(boxes + (b * N + box) * 4, format, Kind::kIou);
  }
  __device__ __forceinline__ int64_t label(int64_t b, int64_t place) const {
    return labels ? labels[b * N + place] : 0;
  }
  // Labels lie together, so a label fills a warp if a warp's width further on it is still there.
  __device__ __forceinline__ bool begins(int64_t b, int64_t place) const {
    return place < N && (place == 0 || label(b, place) != label(b, place - 1));
  }
  __device__ __forceinline__ bool is_large(int64_t b, int64_t place) const {
    return place + kWarp < N && label(b, place + kWarp) == label(b, place);
  }
};

// Who comes first: the larger score, and of equal ones the lower index. Index -1 is nobody.
template <class T>
struct Lead {
  T score;
  int32_t index;
  int64_t place;

  __device__ __forceinline__ bool before(const Lead& other) const {
    if (index < 0 || other.index < 0) return index >= 0;
    return score != other.score ? score > other.score : index < other.index;
  }
};
template <class T>
__device__ __forceinline__ Lead<T> first_of(const Lead<T>& a, const Lead<T>& b) {
  return b.before(a) ? b : a;
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

template <class T>
struct Sum {
  double scores, count;

  __device__ __forceinline__ T mean() const { return static_cast<T>(scores / count); }
};
template <class T>
__device__ __forceinline__ Sum<T> operator+(const Sum<T>& a, const Sum<T>& b) {
  return {a.scores + b.scores, a.count + b.count};
}

// A warp selects among the n boxes from `begin` on, one by one.
template <class T>
__device__ void select_by_warp(const Boxes<T>& in, int64_t b, int64_t begin, int n) {
  const int lane = threadIdx.x % kWarp;
  const int64_t index = lane < n ? in.box_at(b, begin + lane) : 0;
  const Box<T> box = in.load(b, index);
  T score = lane < n ? in.scores[b * in.N + index] : T(NAN), result = T(kUnselected);
  if (!(score >= in.rule.score_threshold)) score = T(NAN);
  for (;;) {
    const bool here = score == score;
    Lead<T> lead{score, here ? static_cast<int32_t>(index) : -1, lane};
    lead = warp_reduce(lead, first_of<T>);
    if (lead.index < 0) break;
    const int leader = static_cast<int>(lead.place);
    const Box<T> chosen = of_lane(box, leader);
    if (lane == leader) {
      result = score + T(0);
      score = T(NAN);
    }
    T scale = in.rule.scale(T(0));
    if (in.rule.method == Method::kMeanGaussian) {
      const bool left = score == score;
      const Sum<T> own{left ? static_cast<double>(score) : 0.0, left ? 1.0 : 0.0};
      scale = in.rule.scale(warp_reduce(own, std::plus<>()).mean());
    }
    if (score == score) score = decayed(in.rule, chosen, box, score, scale);
  }
  if (lane < n) in.selected[b * in.N + index] = result;
}

// What the warps of a block tell each other.
template <class T>
struct Board {
  Lead<T> lead[kWarps];
  Box<T> box[kWarps];   // the lead's
  Box<T> hull[kWarps];  // of all boxes of the warp that can overlap any
  Sum<T> sum[kWarps];
  bool chosen[kWarps];
};

template <class T>
__device__ __forceinline__ bool meets(const Box<T>& hull, const Box<T>& box) {
  return hull.x1 < box.x2 && box.x1 < hull.x2 && hull.y1 < box.y2 && box.y1 < hull.y2;
}

// A block selects among the n boxes from `begin` on; a warp owns a range of them. With `in_order` it selects one box a
// round, as one process over all would, and calls picked(lead) in one thread; only boxes of one label touch.
template <class T, class Picked>
__device__ void select_by_block(const Boxes<T>& in, Board<T>& board, int64_t b, int64_t begin, int64_t n, bool in_order,
                                int64_t most, const Picked& picked) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t share = (n + kWarps - 1) / kWarps;
  const int64_t from = begin + min(n, warp * share), to = begin + min(n, (warp + 1) * share);
  T* current = in.current + b * in.N;
  const bool by_mean = in.rule.method == Method::kMeanGaussian;

  Lead<T> lead{T(0), -1, 0};
  Box<T> hull = empty_hull<T>();
  for (int64_t place = from + lane; place < to; place += kWarp) {
    const int64_t index = in.box_at(b, place);
    const T score = in.scores[b * in.N + index];
    const bool here = score >= in.rule.score_threshold;
    current[place] = here ? score : T(NAN);
    in.selected[b * in.N + index] = T(kUnselected);
    if (here) lead = first_of(lead, Lead<T>{score, static_cast<int32_t>(index), place});
    const Box<T> box = in.load(b, index);
    if (can_overlap(box)) hull = HullOf()(hull, box);
  }
  lead = warp_reduce(lead, first_of<T>);
  hull = warp_reduce(hull, HullOf());

  for (int64_t round = 0; round < most; ++round) {
    if (lane == 0) {
      board.lead[warp] = lead;
      if (lead.index >= 0) board.box[warp] = in.load(b, lead.index);
      board.hull[warp] = hull;
    }
    __syncthreads();
    const Lead<T> other = board.lead[lane];
    if (__ballot_sync(kAllLanes, other.index >= 0) == 0) break;
    const bool rival = other.before(lead) && (in_order || meets(board.hull[lane], board.box[warp]));
    const bool chosen = __ballot_sync(kAllLanes, rival) == 0 && lead.index >= 0;
    if (lane == 0) {
      board.chosen[warp] = chosen;
      if (chosen) {
        current[lead.place] = T(NAN);
        in.selected[b * in.N + lead.index] = lead.score + T(0);
        picked(round, lead);
      }
    }
    __syncthreads();

    if (by_mean) {  // in order, so one box is chosen
      const int chooser = __ffs(__ballot_sync(kAllLanes, board.chosen[lane])) - 1;
      const int64_t label = in.label(b, board.lead[chooser].place);
      Sum<T> own{0, 0};
      for (int64_t place = from + lane; place < to; place += kWarp) {
        const T score = current[place];
        if (score == score && in.label(b, place) == label) own = own + Sum<T>{static_cast<double>(score), 1};
      }
      own = warp_reduce(own, std::plus<>());
      if (lane == 0) board.sum[warp] = own;
      __syncthreads();
    }

    const bool near = board.chosen[lane] && (lane == warp || meets(hull, board.box[lane]));
    const uint32_t hits = __ballot_sync(kAllLanes, near);
    if (hits != 0) {
      T scale = in.rule.scale(T(0));
      if (by_mean) {
        scale = in.rule.scale(warp_reduce(board.sum[lane], std::plus<>()).mean());
      }
      lead = {T(0), -1, 0};
      for (int64_t place = from + lane; place < to; place += kWarp) {
        T score = current[place];
        if (score != score) continue;
        const int64_t index = in.box_at(b, place);
        const Box<T> box = in.load(b, index);
        for (uint32_t open = hits; open; open &= open - 1) {
          const int hit = __ffs(open) - 1;
          if (in.label(b, place) == in.label(b, board.lead[hit].place)) {
            score = decayed(in.rule, board.box[hit], box, score, scale);
          }
        }
        current[place] = score;
        if (score == score) lead = first_of(lead, Lead<T>{score, static_cast<int32_t>(index), place});
      }
      lead = warp_reduce(lead, first_of<T>);
    }
    __syncthreads();
  }
  __syncthreads();
}

}  // namespace
}  // namespace yolox_ops
