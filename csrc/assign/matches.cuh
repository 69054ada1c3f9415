// The outputs of a CUDA assigner.
#pragma once

#include <tuple>

#include "core/guards.h"

namespace yolox_ops {

struct Matches {
  Tensor matched_gt;   // [B, N], int64
  Tensor matched_iou;  // [B, N], float32
  Tensor num_fg;       // [B], int64

  // Not set yet, but for num_fg where there is no anchor. On the device of `like`.
  Matches(const Tensor& like, int64_t B, int64_t N)
      : matched_gt(torch::stable::new_empty(like, {B, N}, ScalarType::Long)),
        matched_iou(torch::stable::new_empty(like, {B, N}, ScalarType::Float)),
        num_fg(torch::stable::new_empty(like, {B}, ScalarType::Long)) {
    if (is_empty()) torch::stable::zero_(num_fg);
  }

  bool is_empty() const { return matched_gt.numel() == 0; }

  std::tuple<Tensor, Tensor, Tensor> as_tuple() const { return {matched_gt, matched_iou, num_fg}; }
};

}  // namespace yolox_ops
