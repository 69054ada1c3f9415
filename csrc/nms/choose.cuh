// The first half of a round of soft-NMS by a block: which leads of groups are selected, and which groups they reach.
#pragma once

#include "nms/board.cuh"

namespace yolox_ops {
namespace {

// The slot of a lead that comes before one, or -1.
template <class T>
__device__ __forceinline__ int32_t find_ahead(const View<T>& view, const Lead<T>& lead) {
#pragma unroll 1
  for (int first = 0; first < view.groups; first += kWarp) {
    const int other = min(first + view.lane, view.groups - 1);
    const uint32_t ahead = __ballot_sync(kAllLanes, view.is_before(view.board.lead[other], lead));
    if (ahead != 0) return view.board.lead[first + __ffs(ahead) - 1].slot;
  }
  return -1;
}

// The slot of a box of a group that comes before a lead and meets it, or -1.
template <class T>
__device__ __forceinline__ int32_t find_blocker_in(const View<T>& view, int group, const Lead<T>& lead,
                                                   const Box<T>& box) {
  int32_t found = -1;
  view.each(group, [&](int32_t slot) {
    const KeptBox<T> other = view.kept[slot];
    const T score = other.score();
    if ((score >= lead.score) & meets(other.box(), box) && view.is_before({score, slot}, lead)) found = slot;
  });
  const uint32_t having = __ballot_sync(kAllLanes, found >= 0);
  return having == 0 ? -1 : of_lane(found, __ffs(having) - 1);
}

// The slot of a box that comes before a lead and meets it, or -1. Groups whose own lead is behind have none.
template <class T>
__device__ __forceinline__ int32_t find_blocker(const View<T>& view, const Lead<T>& lead) {
  const Box<T> box = view.kept[lead.slot].box();
  const uint32_t mine = view.reach_word(lead.slot);
#pragma unroll 1
  for (uint32_t words = __ballot_sync(kAllLanes, mine != 0); words; words &= words - 1) {
    const int word = __ffs(words) - 1, first = word * kWarp;
    const bool is_reached = of_lane(mine, word) >> view.lane & 1;
    const bool is_ahead = is_reached && view.is_before(view.board.lead[first + view.lane], lead);
#pragma unroll 1
    for (uint32_t open = __ballot_sync(kAllLanes, is_ahead); open; open &= open - 1) {
      const int32_t found = find_blocker_in(view, first + __ffs(open) - 1, lead, box);
      if (found >= 0) return found;
    }
  }
  return -1;
}

// Whether the blocker that was found last still is one.
template <class T>
__device__ __forceinline__ bool is_blocked(const View<T>& view, int group) {
  const Lead<T> lead = view.board.lead[group];
  const int32_t blocker = view.board.blocker[group];
  const KeptBox<T> other = view.kept[blocker];
  if (!view.is_before({other.score(), blocker}, lead)) return false;
  return view.in_order || meets(other.box(), view.kept[lead.slot].box());
}

// Lists the leads of the warp's groups that nothing blocks any more.
template <class T>
__device__ __forceinline__ void find_chosen(const View<T>& view, int32_t& count) {
  Board<T>& board = view.board;
  const int mine = view.warp + view.lane * kWarps;
  const bool is_open =
      mine < view.groups && board.lead[mine].score == board.lead[mine].score && !is_blocked(view, mine);
  uint32_t open = __ballot_sync(kAllLanes, is_open);
  __syncwarp();
#pragma unroll 1
  for (; open; open &= open - 1) {
    const int group = view.warp + (__ffs(open) - 1) * kWarps;
    const Lead<T> lead = board.lead[group];
    const int32_t blocker = view.in_order ? find_ahead(view, lead) : find_blocker(view, lead);
    if (view.lane != 0) continue;
    board.blocker[group] = blocker < 0 ? kChosen : blocker;
    if (blocker < 0) board.found[atomicAdd(&count, 1)] = lead;
  }
}

// Tells the groups that the chosen in a place reaches.
template <class T>
__device__ __forceinline__ void mark_hits(const View<T>& view, int place, int32_t slot) {
  const uint32_t mine = view.reach_word(slot);
#pragma unroll 1
  for (uint32_t words = __ballot_sync(kAllLanes, mine != 0); words; words &= words - 1) {
    const int word = __ffs(words) - 1;
    if (of_lane(mine, word) >> view.lane & 1) {
      atomicOr(&view.board.hits[word * kWarp + view.lane][place / kWarp], 1u << (place % kWarp));
    }
  }
}

// Puts the warp's share of the `count` chosen in order, and calls picked(lead) for each in one thread.
template <class T, class Picked>
__device__ __forceinline__ void place_chosen(const View<T>& view, int count, const Picked& picked) {
  Board<T>& board = view.board;
#pragma unroll 1
  for (int i = view.warp; i < count; i += kWarps) {
    const Lead<T> mine = board.found[i];
    int place = 0;
#pragma unroll 1
    for (int first = 0; first < count; first += kWarp) {
      const bool is_before = first + view.lane < count && view.is_before(board.found[first + view.lane], mine);
      place += __popc(__ballot_sync(kAllLanes, is_before));
    }
    mark_hits(view, place, mine.slot);
    if (view.lane != 0) continue;
    board.chosen[place] = mine;
    board.chosen_box[place] = view.kept[mine.slot].box();
    picked(mine);
  }
}

}  // namespace
}  // namespace yolox_ops
