// Soft-NMS among many boxes, by a block, in rounds. Neighbours in the image form groups, which the warps share. A box
// is selected as soon as it leads its group and every box that comes before it and meets it is gone: scores only fall,
// so none can overtake it, and what one process over all boxes selects later cannot touch it. Boxes far apart are
// selected at the same time. A round has three steps with a barrier after each: leads that nothing blocks are listed,
// they are put in order and told to the groups that they reach, and these groups' scores are lowered. A lead that is
// behind another box asks first whether it still is. Issue slots are the bound, 1,300 a selected box: 970 modelled us
// of one multiprocessor for 5,000 boxes in 93 rounds on an H200; half of them lower scores.
#pragma once

#include <functional>

#include "nms/choose.cuh"
#include "nms/lower.cuh"

namespace yolox_ops {
namespace {

// A block selects among the n boxes from slot `begin` on, whose reach is known. With `in_order` it selects one box a
// round, as one process over all would, and calls picked(round, lead) in one thread; only boxes of one label
// touch.
template <class T, class Picked>
__device__ void select_by_block(const Boxes<T>& in, Board<T>& board, int64_t b, int64_t begin, int64_t n, bool in_order,
                                bool one_label, int32_t most, const Picked& picked) {
  const bool by_mean = in.rule.method == Method::kMeanGaussian;  // in order, so one box is chosen a round
  const View<T> view(in, board, b, begin, n, one_label, in_order);
  for (int group = view.warp; group < view.groups; group += kWarps) view.start(group);
  if (threadIdx.x == 0) board.found_count[0] = 0;
  __syncthreads();
  for (int32_t round = 0; round < most; ++round) {
    find_chosen(view, board.found_count[round % 2]);
    __syncthreads();
    const int count = board.found_count[round % 2];
    if (count == 0) break;
    if (threadIdx.x == 0) board.found_count[1 - round % 2] = 0;
    place_chosen(view, count, [&](const Lead<T>& lead) { picked(round, lead); });
    __syncthreads();
    T scale = in.rule.scale(T(0));
    if (by_mean) {
      show_sum(view);
      __syncthreads();
      scale = in.rule.scale(warp_reduce(board.sum[view.lane], std::plus<>()).mean());
    }
    dispatch_weight(in.rule.method, [&]<Method method>() { lower_groups<method>(view, count, scale); });
    __syncthreads();
  }
  __syncthreads();
}

}  // namespace
}  // namespace yolox_ops
