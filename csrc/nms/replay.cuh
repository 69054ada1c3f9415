// What the selected boxes of a large label scored, once more, now that it is known who was selected. Blocks select
// boxes far apart at the same time, so what lowered a score came in another order than in one process over all boxes,
// and rounded differently. A warp serves a box: it lists those that lowered it, ranks them, and multiplies in their
// order. It is bound by the box that most others lowered: 30 modelled us for 5,000 boxes on an H200; issue slots alone
// take 13.
#pragma once

#include "nms/groups_of_label.cuh"

namespace yolox_ops {
namespace {

// Slots that a warp serves.
constexpr int kReplaySlots = 1;
// Boxes that lowered one; of more, its score stays as it was found.
constexpr int kMostLowering = 128;

template <class T>
struct Lowering {
  Lead<T> found[kMostLowering];
  T weight[kMostLowering];  // in order
};

// By a warp: lists the selected boxes of a label that come before one and meet it; returns how many there are.
template <class T>
__device__ __forceinline__ int find_lowering(const Boxes<T>& in, int64_t b, const Label& label, const Lead<T>& mine,
                                             const Box<T>& box, Lowering<T>& lowering) {
  const int lane = threadIdx.x % kWarp;
  const int32_t n = label.end - label.begin, share = boxes_of_group(n), groups = (n + share - 1) / share;
  int count = 0;
  for (int32_t begin = 0; begin < groups; begin += kWarp) {
    for (uint32_t open = in.reach(b, mine.slot)[begin / kWarp]; open; open &= open - 1) {
      const int32_t from = label.begin + (begin + __ffs(open) - 1) * share, to = min(label.end, from + share);
      for (int32_t first = from; first < to; first += kWarp) {
        const int32_t slot = min(first + lane, to - 1);
        const Lead<T> other{in.picked[b * in.N + slot], slot};
        const bool is_near = (first + lane < to) & meets(in.kept(b)[slot].box(), box);
        const bool lowers = is_near & in.is_before(b, other, mine);
        const uint32_t having = __ballot_sync(kAllLanes, lowers);
        const int place = count + __popc(having & ((1u << lane) - 1));
        if (lowers && place < kMostLowering) lowering.found[place] = other;
        count += __popc(having);
      }
    }
  }
  __syncwarp();
  return count;
}

// By a warp: the score of a selected box after all that lowered it, in order.
template <class T>
__device__ __forceinline__ T replay(const Boxes<T>& in, int64_t b, const Label& label, const Lead<T>& mine,
                                    Lowering<T>& lowering) {
  const Box<T> box = in.kept(b)[mine.slot].box();
  const int count = find_lowering(in, b, label, mine, box, lowering);
  if (count > kMostLowering) return mine.score;
  for (int i = threadIdx.x % kWarp; i < count; i += kWarp) {
    const Lead<T> other = lowering.found[i];
    int place = 0;
    for (int k = 0; k < count; ++k) place += in.is_before(b, lowering.found[k], other);
    const Box<T> chosen = in.kept(b)[other.slot].box();
    dispatch_weight(in.rule.method, [&]<Method method>() {
      lowering.weight[place] = weight_of<method>(in.rule, chosen, box, in.rule.scale(T(0)));
    });
  }
  __syncwarp();
  T score = in.scores[b * in.N + in.box_in(b, mine.slot)];
  for (int k = 0; k < count; ++k) score = score * lowering.weight[k];
  __syncwarp();
  return score >= in.rule.score_threshold ? score : T(kUnselected);
}

// Writes what the selected of large labels scored. Where boxes were selected one by one, or scores never lowered, that
// is known. Four blocks at once leave registers enough on an sm_90, where ptxas would give fewer and spill.
template <class T>
__global__ void __launch_bounds__(kReachThreads, 4) replay_large(Boxes<T> in) {
  __shared__ Lowering<T> lowering[kReachThreads / kWarp];
  const bool was_lowered = in.rule.method == Method::kLinear || in.rule.method == Method::kGaussian;
  each_large<true>(in, kReplaySlots, false, [&](int64_t b, const Label& label, int32_t first, int32_t last) {
    for (int32_t slot = first; slot < last; ++slot) {
      const Lead<T> mine{in.picked[b * in.N + slot], slot};
      T score = mine.score;
      if (was_lowered && score >= T(0)) score = replay(in, b, label, mine, lowering[threadIdx.x / kWarp]);
      if (threadIdx.x % kWarp == 0) in.selected[b * in.N + in.box_in(b, slot)] = score;
    }
  });
}

}  // namespace
}  // namespace yolox_ops
