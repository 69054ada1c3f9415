// Soft-NMS among the few boxes of one label, by a warp.
#pragma once

#include "nms/boxes.cuh"

namespace yolox_ops {
namespace {

// A warp selects among the n boxes from slot `begin` on, one by one; each lane has one of them.
template <Method method, class T>
__device__ void select_by_warp(const Boxes<T>& in, int64_t b, int64_t begin, int n) {
  const int lane = threadIdx.x % kWarp;
  const int64_t index = lane < n ? in.box_in(b, begin + lane) : 0;
  const Box<T> box = in.load(b, index);
  T score = lane < n ? in.scores[b * in.N + index] : T(NAN), result = T(kUnselected);
  if (!(score >= in.rule.score_threshold)) score = T(NAN);
  for (;;) {
    const bool here = score == score;
    Leader<T> lead{score, here ? static_cast<int32_t>(index) : -1, lane};
    lead = first_of_warp(lead);
    if (lead.index < 0) break;
    const int leader = lead.slot;
    const Box<T> chosen = of_lane(box, leader);
    if (lane == leader) {
      result = score + T(0);
      score = T(NAN);
    }
    T scale = in.rule.scale(T(0));
    if (in.rule.method == Method::kMeanGaussian) {
      const bool left = score == score;
      const Sum<T> mine{left ? static_cast<double>(score) : 0.0, left ? 1.0 : 0.0};
      scale = in.rule.scale(warp_reduce(mine, std::plus<>()).mean());
    }
    if (score == score) score = decayed<method>(in.rule, chosen, box, score, scale);
  }
  if (lane < n) in.selected[b * in.N + index] = result;
}

}  // namespace
}  // namespace yolox_ops
