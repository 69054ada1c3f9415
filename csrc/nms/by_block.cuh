// Soft-NMS among many boxes, by a block, in rounds. A box is selected as soon as it leads every box that it may
// overlap: their scores only fall, so none can overtake it, and what one process over all boxes selects later cannot
// touch it. Boxes far apart are selected at the same time.
#pragma once

#include "nms/boxes.cuh"

namespace yolox_ops {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;

// What the warps of a block tell each other, one element each.
template <class T>
struct Board {
  Leader<T> lead[kWarps];
  Box<T> box[kWarps];   // the lead's
  Box<T> hull[kWarps];  // of all boxes of the warp that can overlap any
  Sum<T> sum[kWarps];
  bool chosen[kWarps];
};

// A warp of the block, as each of its threads has it. A warp owns the boxes in slots [from, to); a lane reads the
// board's element of the warp of its number.
template <class T>
struct Warp {
  const Boxes<T>& in;
  Board<T>& board;
  int64_t b, from, to;
  T* current;  // [N], of the image
  int warp, lane;
  Leader<T> lead;
  Box<T> hull;

  // Shares n boxes from slot `begin` on among the warps.
  __device__ __forceinline__ Warp(const Boxes<T>& in_, Board<T>& board_, int64_t b_, int64_t begin, int64_t n)
      : in(in_), board(board_), b(b_), current(in.current + b * in.N) {
    warp = threadIdx.x / kWarp;
    lane = threadIdx.x % kWarp;
    const int64_t share = (n + kWarps - 1) / kWarps;
    from = begin + min(n, warp * share);
    to = begin + min(n, (warp + 1) * share);
  }

  __device__ __forceinline__ void start() {
    lead = {T(0), -1, 0};
    hull = empty_hull<T>();
    for (int64_t slot = from + lane; slot < to; slot += kWarp) {
      const int64_t index = in.box_in(b, slot);
      const T score = in.scores[b * in.N + index];
      const bool here = score >= in.rule.score_threshold;
      current[slot] = here ? score : T(NAN);
      in.selected[b * in.N + index] = T(kUnselected);
      if (here) lead = first_of(lead, Leader<T>{score, static_cast<int32_t>(index), slot});
      const Box<T> box = in.load(b, index);
      if (can_overlap(box)) hull = HullOf()(hull, box);
    }
    lead = warp_reduce(lead, first_of<T>);
    hull = warp_reduce(hull, HullOf());
  }

  __device__ __forceinline__ void show_lead() const {
    if (lane != 0) return;
    board.lead[warp] = lead;
    if (lead.index >= 0) board.box[warp] = in.load(b, lead.index);
    board.hull[warp] = hull;
  }

  // Whether a warp has boxes left.
  __device__ __forceinline__ bool any_left() const {
    return __ballot_sync(kAllLanes, board.lead[lane].index >= 0) != 0;
  }

  // Whether the warp's lead comes before those of all warps whose boxes it may overlap; `in_order`, of all warps.
  __device__ __forceinline__ bool is_first(bool in_order) const {
    if (lead.index < 0) return false;  // a warp without a lead has shown no box
    const bool rival = board.lead[lane].before(lead) && (in_order || meets(board.hull[lane], board.box[warp]));
    return __ballot_sync(kAllLanes, rival) == 0;
  }

  // By one lane.
  __device__ __forceinline__ void select_lead() const {
    current[lead.slot] = T(NAN);
    in.selected[b * in.N + lead.index] = lead.score + T(0);
  }

  // The warp's sum over what is left of the one label that a box was selected of.
  __device__ __forceinline__ void show_sum() const {
    const int chooser = __ffs(__ballot_sync(kAllLanes, board.chosen[lane])) - 1;
    const int64_t label = in.label(b, board.lead[chooser].slot);
    Sum<T> mine{0, 0};
    for (int64_t slot = from + lane; slot < to; slot += kWarp) {
      const T score = current[slot];
      if (score == score && in.label(b, slot) == label) mine = mine + Sum<T>{static_cast<double>(score), 1};
    }
    mine = warp_reduce(mine, std::plus<>());
    if (lane == 0) board.sum[warp] = mine;
  }

  // The warps whose selected boxes may overlap boxes of this one, as bits.
  __device__ __forceinline__ uint32_t find_hits() const {
    const bool near = board.chosen[lane] && (lane == warp || meets(hull, board.box[lane]));
    return __ballot_sync(kAllLanes, near);
  }

  // Lowers the warp's scores by the boxes that these warps selected, and finds who leads now.
  __device__ __forceinline__ void decay(uint32_t hits, T scale) {
    lead = {T(0), -1, 0};
    for (int64_t slot = from + lane; slot < to; slot += kWarp) {
      T score = current[slot];
      if (score != score) continue;
      const int64_t index = in.box_in(b, slot);
      const Box<T> box = in.load(b, index);
      for (uint32_t open = hits; open; open &= open - 1) {
        const int hit = __ffs(open) - 1;
        if (in.label(b, slot) == in.label(b, board.lead[hit].slot)) {
          score = decayed(in.rule, board.box[hit], box, score, scale);
        }
      }
      current[slot] = score;
      if (score == score) lead = first_of(lead, Leader<T>{score, static_cast<int32_t>(index), slot});
    }
    lead = warp_reduce(lead, first_of<T>);
  }
};

// A block selects among the n boxes from slot `begin` on. With `in_order` it selects one box a round, as one process
// over all would, and calls picked(round, lead) in one thread; only boxes of one label touch.
template <class T, class Picked>
__device__ void select_by_block(const Boxes<T>& in, Board<T>& board, int64_t b, int64_t begin, int64_t n, bool in_order,
                                int64_t most, const Picked& picked) {
  const bool by_mean = in.rule.method == Method::kMeanGaussian;  // in order, so one box is chosen a round
  Warp<T> mine(in, board, b, begin, n);
  mine.start();
  for (int64_t round = 0; round < most; ++round) {
    mine.show_lead();
    __syncthreads();
    if (!mine.any_left()) break;
    const bool chosen = mine.is_first(in_order);
    if (mine.lane == 0) {
      board.chosen[mine.warp] = chosen;
      if (chosen) {
        mine.select_lead();
        picked(round, mine.lead);
      }
    }
    __syncthreads();
    if (by_mean) {
      mine.show_sum();
      __syncthreads();
    }
    const uint32_t hits = mine.find_hits();
    if (hits != 0) {
      T scale = in.rule.scale(T(0));
      if (by_mean) scale = in.rule.scale(warp_reduce(board.sum[mine.lane], std::plus<>()).mean());
      mine.decay(hits, scale);
    }
    __syncthreads();
  }
  __syncthreads();
}

}  // namespace
}  // namespace yolox_ops
