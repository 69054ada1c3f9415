// soft_nms's tensors, checked; the same on every device.
#pragma once

#include <optional>

#include "core/guards.h"
#include "nms/rule.h"

namespace yolox_ops {

// Inputs made dense, and the outputs.
struct NmsCall {
  NmsCall(const Tensor& boxes_,                  // [B, N, 4]
          const Tensor& scores_,                 // [B, N]
          const std::optional<Tensor>& labels_,  // [B, N]
          const NmsOptions& options_)
      : options(options_), boxes(boxes_), scores(scores_), indices(boxes_), decayed(boxes_), counts(boxes_) {
    check_shape(boxes, "boxes", "[B, N, 4]", {-1, -1, 4});
    B = boxes.size(0);
    N = boxes.size(1);
    K = options.most(N);
    check_shape(scores, "scores", "[B, N]", {B, N});
    check_floating(boxes, "boxes");
    check_floating(scores, "scores");
    check_same_device(scores, "scores", boxes, "boxes");
    if (labels_) {
      check_shape(*labels_, "labels", "[B, N]", {B, N});
      check_integer(*labels_, "labels");
      check_same_device(*labels_, "labels", boxes, "boxes");
    }
    dtype = compute_dtype(boxes, scores);
    indices = torch::stable::new_empty(boxes, {B, K}, ScalarType::Long);
    decayed = torch::stable::new_empty(boxes, {B, K}, dtype);
    counts = torch::stable::new_empty(boxes, {B}, ScalarType::Long);
    if (B == 0) return;
    boxes = dense(boxes, dtype);
    scores = dense(scores, dtype);
    if (labels_) labels = dense(*labels_, ScalarType::Long);
  }

  NmsOptions options;
  int64_t B, N, K;
  Tensor boxes;                  // [B, N, 4]
  Tensor scores;                 // [B, N]
  std::optional<Tensor> labels;  // [B, N]
  Tensor indices;                // [B, K]
  Tensor decayed;                // [B, K]
  Tensor counts;                 // [B]
  ScalarType dtype;
};

}  // namespace yolox_ops
