// The second step of a round of soft-NMS by a block: the scores of the boxes that the chosen reach are lowered.
#pragma once

#include <functional>

#include "nms/board.cuh"

namespace yolox_ops {
namespace {

// The warp's sum over what is left of the one label that a box was selected of.
template <class T>
__device__ __forceinline__ void show_sum(const View<T>& view) {
  const int32_t chosen = view.board.chosen[0].slot;
  const int64_t label = view.in.label(view.b, chosen);
  Sum<T> mine{0, 0};
  for (int group = view.warp; group < view.groups; group += kWarps) {
    view.each(group, [&](int32_t slot) {
      const T score = view.kept[slot].score();
      if (score == score && slot != chosen && (view.one_label || view.in.label(view.b, slot) == label)) {
        mine = mine + Sum<T>{static_cast<double>(score), 1};
      }
    });
  }
  mine = warp_reduce(mine, std::plus<>());
  if (view.lane == 0) view.board.sum[view.warp] = mine;
}

// Takes the lead of a group out if it is chosen, lowers the others' scores by those of the `count` chosen that hit the
// group, in their order, and finds who leads now.
template <Method method, class T>
__device__ __forceinline__ void lower_group(const View<T>& view, int group, int count, T scale) {
  const Boxes<T>& in = view.in;
  Board<T>& board = view.board;
  const int32_t taken = board.blocker[group] == kChosen ? board.lead[group].slot : -1;
  uint32_t* const hits = board.hits[group];
  Lead<T> first{T(NAN), view.begin};
  view.each(group, [&](int32_t slot) {
    const KeptBox<T> kept = view.kept[slot];
    const Box<T> box = kept.box();
    T score = slot == taken ? T(NAN) : kept.score();
#pragma unroll 1
    for (int begin = 0; begin < count; begin += kWarp) {
#pragma unroll 1
      for (uint32_t open = hits[begin / kWarp]; open; open &= open - 1) {
        const int place = begin + __ffs(open) - 1;
        if (view.one_label || in.label(view.b, slot) == in.label(view.b, board.chosen[place].slot)) {
          score = decayed<method>(in.rule, board.chosen_box[place], box, score, scale);
        }
      }
    }
    kept.score() = score;
    view.keep_first(first, {score, slot});
  });
  first = view.first_of_warp(first);
  __syncwarp();
  if (view.lane < kReachWords) hits[view.lane] = 0;
  if (view.lane != 0) return;
  board.lead[group] = first;
  if (taken >= 0) board.blocker[group] = view.begin;
}

// Lowers the scores of those of the warp's groups that the chosen hit.
template <Method method, class T>
__device__ __forceinline__ void lower_groups(const View<T>& view, int count, T scale) {
  Board<T>& board = view.board;
  const int mine = view.warp + view.lane * kWarps;
  bool is_hit = false;
  if (mine < view.groups && board.lead[mine].score == board.lead[mine].score) {
    is_hit = board.blocker[mine] == kChosen;
#pragma unroll 1
    for (int word = 0; word * kWarp < count; ++word) is_hit |= board.hits[mine][word] != 0;
  }
#pragma unroll 1
  for (uint32_t open = __ballot_sync(kAllLanes, is_hit); open; open &= open - 1) {
    __syncwarp();
    lower_group<method>(view, view.warp + (__ffs(open) - 1) * kWarps, count, scale);
  }
}

}  // namespace
}  // namespace yolox_ops
