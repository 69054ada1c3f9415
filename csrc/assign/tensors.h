// What simota_cost, dynamic_k_match, simota and ota take, and their guards; the same on every device.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <tuple>

#include "assign/rule.h"
#include "core/guards.h"

// What the schemas of these ops have in common.
#define YOLOX_OPS_SCENE                                                                                               \
  "Tensor pred_boxes, Tensor cls_logits, Tensor? obj_logits, Tensor anchor_points, Tensor strides, Tensor gt_boxes, " \
  "Tensor gt_labels, Tensor? num_gts"
#define YOLOX_OPS_COST_RULE                                                                          \
  "float center_radius, str candidates, float outside_penalty, float cls_weight, float iou_weight, " \
  "float iou_eps"

namespace yolox_ops {

inline void check_counts(const std::optional<Tensor>& num_gts,  // [B]
                         const Tensor& first,                   // [B, ...]
                         const char* first_name) {
  if (!num_gts) return;
  check_shape(*num_gts, "num_gts", "[B]", {first.size(0)});
  check_integer(*num_gts, "num_gts");
  check_same_device(*num_gts, "num_gts", first, first_name);
}

// Anchors and ground truths of an image are numbered in 32 bits.
inline void check_numbering(int64_t N, int64_t G) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  check(N < kMost && G < kMost, "N and G must be below 2^31 - 1, got ", N, " and ", G);
}

// The tensors of simota_cost, simota and ota, and their guards.
struct Scene {
  const Tensor& pred_boxes;                 // [B, N, 4], cx, cy, w, h
  const Tensor& cls_logits;                 // [B, N, C]
  const std::optional<Tensor>& obj_logits;  // [B, N]
  const Tensor& anchor_points;              // [N, 2]
  const Tensor& strides;                    // [N]
  const Tensor& gt_boxes;                   // [B, G, 4], cx, cy, w, h
  const Tensor& gt_labels;                  // [B, G]
  const std::optional<Tensor>& num_gts;     // [B]

  void check() const {
    check_shape(pred_boxes, "pred_boxes", "[B, N, 4]", {-1, -1, 4});
    const int64_t B = pred_boxes.size(0), N = pred_boxes.size(1);
    check_shape(cls_logits, "cls_logits", "[B, N, C]", {B, N, -1});
    if (obj_logits) check_shape(*obj_logits, "obj_logits", "[B, N]", {B, N});
    check_shape(anchor_points, "anchor_points", "[N, 2]", {N, 2});
    check_shape(strides, "strides", "[N]", {N});
    check_shape(gt_boxes, "gt_boxes", "[B, G, 4]", {B, -1, 4});
    check_shape(gt_labels, "gt_labels", "[B, G]", {B, gt_boxes.size(1)});
    check_floating(pred_boxes, "pred_boxes");
    check_floating(cls_logits, "cls_logits");
    if (obj_logits) check_floating(*obj_logits, "obj_logits");
    check_floating(anchor_points, "anchor_points");
    check_floating(strides, "strides");
    check_floating(gt_boxes, "gt_boxes");
    check_integer(gt_labels, "gt_labels");
    check_same_device(cls_logits, "cls_logits", pred_boxes, "pred_boxes");
    if (obj_logits) check_same_device(*obj_logits, "obj_logits", pred_boxes, "pred_boxes");
    check_same_device(anchor_points, "anchor_points", pred_boxes, "pred_boxes");
    check_same_device(strides, "strides", pred_boxes, "pred_boxes");
    check_same_device(gt_boxes, "gt_boxes", pred_boxes, "pred_boxes");
    check_same_device(gt_labels, "gt_labels", pred_boxes, "pred_boxes");
    check_counts(num_gts, pred_boxes, "pred_boxes");
    check_numbering(N, gt_boxes.size(1));
  }
};

// What dynamic_k_match, simota and ota return.
struct Matches {
  // On the device of `like`, not yet written, but for num_fg where there is no anchor.
  Matches(const Tensor& like, int64_t B, int64_t N)
      : matched_gt(torch::stable::new_empty(like, {B, N}, ScalarType::Long)),
        matched_iou(torch::stable::new_empty(like, {B, N}, ScalarType::Float)),
        num_fg(torch::stable::new_empty(like, {B}, ScalarType::Long)) {
    if (is_empty()) torch::stable::zero_(num_fg);
  }

  explicit Matches(const Scene& scene)
      : Matches(scene.pred_boxes, scene.pred_boxes.size(0), scene.pred_boxes.size(1)) {}

  bool is_empty() const { return matched_gt.numel() == 0; }

  std::tuple<Tensor, Tensor, Tensor> tensors() const { return {matched_gt, matched_iou, num_fg}; }

  Tensor matched_gt;   // [B, N], int64
  Tensor matched_iou;  // [B, N], float32
  Tensor num_fg;       // [B], int64
};

// The guards of dynamic_k_match.
inline void check_match(const Tensor& cost,                    // [B, G, N]
                        const Tensor& iou,                     // [B, G, N]
                        const std::optional<Tensor>& num_gts,  // [B]
                        int64_t topk) {
  check_shape(cost, "cost", "[B, G, N]", {-1, -1, -1});
  const int64_t B = cost.size(0), G = cost.size(1), N = cost.size(2);
  check_shape(iou, "iou", "[B, G, N]", {B, G, N});
  check_floating(cost, "cost");
  check_floating(iou, "iou");
  check_same_device(iou, "iou", cost, "cost");
  check_counts(num_gts, cost, "cost");
  check_numbering(N, G);
  check(topk >= 1, "topk must be at least 1, got ", topk);
}

inline Candidates parse_candidates(const std::string& candidates) {
  if (candidates == "center") return Candidates::kCenter;
  if (candidates == "box_or_center") return Candidates::kBoxOrCenter;
  check(candidates == "all", "candidates must be 'center', 'box_or_center' or 'all', got '", candidates, "'");
  return Candidates::kAll;
}

// Whether k is rounded to the nearest integer.
inline bool parse_rounding(const std::string& k_rounding) {
  check(k_rounding == "down" || k_rounding == "nearest", "k_rounding must be 'down' or 'nearest', got '", k_rounding,
        "'");
  return k_rounding == "nearest";
}

inline Rule parse_rule(double center_radius, const std::string& candidates, double outside_penalty, double cls_weight,
                       double iou_weight, double iou_eps, int64_t topk, const std::string& k_rounding) {
  check(center_radius > 0 && center_radius < std::numeric_limits<double>::infinity(),
        "center_radius must be positive and finite, got ", center_radius);
  check_between(outside_penalty, "outside_penalty", 0, 1e9);
  check_between(cls_weight, "cls_weight", 0, 1e6);
  check_between(iou_weight, "iou_weight", 0, 1e6);
  check_between(iou_eps, "iou_eps", 1e-30, 1);
  check(topk >= 1, "topk must be at least 1, got ", topk);
  return {center_radius, parse_candidates(candidates), outside_penalty, cls_weight, iou_weight, iou_eps,
          topk,          parse_rounding(k_rounding)};
}

}  // namespace yolox_ops
