// What a block that selects among the boxes of a label knows of them, group by group.
#pragma once

#include "nms/groups_of_label.cuh"

namespace yolox_ops {
namespace {

// In place of a blocker, of a group whose lead is chosen.
constexpr int32_t kChosen = -1;

// What the warps of a block tell each other.
template <class T>
struct Board {
  Lead<T> lead[kGroups];
  int32_t blocker[kGroups];  // the slot of a box that came before the lead of the group and met it, or kChosen
  Lead<T> found[kGroups];    // the chosen of a round, as they were found
  int32_t found_count[2];    // of this round and of the one before or after
  Lead<T> chosen[kGroups];   // in order
  Box<T> chosen_box[kGroups];
  uint32_t hits[kGroups][kReachWords];  // the chosen that reach a group, as bits
  Sum<T> sum[kWarps];
};

// The boxes that a block selects among, as one of its warps sees them. The groups of a warp are those whose numbers
// leave the warp's when divided by kWarps.
template <class T>
struct View {
  const Boxes<T>& in;
  Board<T>& board;
  int64_t b;
  int32_t begin, n, share;
  KeptBoxes<T> kept;
  const uint32_t* reached;
  bool one_label, in_order;
  int warp, lane, groups;

  // Of the n boxes from slot `begin` on.
  __device__ __forceinline__ View(const Boxes<T>& in_, Board<T>& board_, int64_t b_, int64_t begin_, int64_t n_,
                                  bool one_label_, bool in_order_)
      : in(in_),
        board(board_),
        b(b_),
        begin(static_cast<int32_t>(begin_)),
        n(static_cast<int32_t>(n_)),
        kept(in.kept(b_)),
        reached(in.reach(b_, 0)),
        one_label(one_label_),
        in_order(in_order_) {
    warp = threadIdx.x / kWarp;
    lane = threadIdx.x % kWarp;
    share = boxes_of_group(n);
    groups = (n + share - 1) / share;
  }

  // Calls visit(slot) for the lane's boxes of a group.
  template <class Visit>
  __device__ __forceinline__ void each(int group, const Visit& visit) const {
    const int32_t from = begin + group * share, to = min(begin + n, from + share);
#pragma unroll 1
    for (int32_t slot = from + lane; slot < to; slot += kWarp) visit(slot);
  }

  // The lane's word of the groups that a box reaches, as bits.
  __device__ __forceinline__ uint32_t reach_word(int32_t slot) const {
    if (lane * kWarp >= groups) return 0;
    return *at_bytes(reached, (static_cast<uint32_t>(slot) * kReachWords + lane) * uint32_t{sizeof(uint32_t)});
  }

  __device__ __forceinline__ bool is_before(const Lead<T>& one, const Lead<T>& other) const {
    return in.is_before(b, one, other);
  }

  // The first of a warp's.
  __device__ __forceinline__ Lead<T> first_of_warp(const Lead<T>& mine) const {
    const bool here = mine.score == mine.score;
    const T most = warp_max(here ? mine.score : -std::numeric_limits<T>::infinity());
    const uint32_t best = __ballot_sync(kAllLanes, mine.score == most);
    if (best == 0) return {T(NAN), begin};
    if ((best & (best - 1)) == 0) return {most, of_lane(mine.slot, __ffs(best) - 1)};
    const Lead<T> of_best = best >> lane & 1 ? mine : Lead<T>{T(NAN), begin};
    return warp_reduce(of_best, [&](Lead<T> a, const Lead<T>& other) {
      keep_first(a, other);
      return a;
    });
  }

  __device__ __forceinline__ void start(int group) const {
    Lead<T> mine{T(NAN), begin};
    each(group, [&](int32_t slot) { keep_first(mine, {kept[slot].score(), slot}); });
    mine = first_of_warp(mine);
    if (lane != 0) return;
    board.lead[group] = mine;
    board.blocker[group] = begin;
#pragma unroll 1
    for (int word = 0; word < kReachWords; ++word) board.hits[group][word] = 0;
  }
  __device__ __forceinline__ void keep_first(Lead<T>& first, const Lead<T>& other) const {
    if (first.score != first.score || is_before(other, first)) first = other;
  }
};

}  // namespace
}  // namespace yolox_ops
