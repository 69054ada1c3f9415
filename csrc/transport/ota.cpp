#include "core/parallel.h"
#include "transport/ota_image.h"

namespace yolox_ops {
namespace {

template <class T>
void assign(const Batch<T>& batch, const OtaRule& rule, Tensor& matched_gt, Tensor& matched_iou, Tensor& num_fg) {
  int64_t* gts = matched_gt.mutable_data_ptr<int64_t>();
  float* ious = matched_iou.mutable_data_ptr<float>();
  int64_t* totals = num_fg.mutable_data_ptr<int64_t>();
  parallel_items<OtaImage<T>>(batch.B, [&](OtaImage<T>& image, int64_t b) {
    std::fill_n(gts + b * batch.N, batch.N, int64_t{-1});
    std::fill_n(ious + b * batch.N, batch.N, 0.0f);
    totals[b] = 0;
    if (batch.counts[b] == 0 || batch.N == 0) return;
    image.prepare(batch, rule, b);
    image.solve();
    image.decode(gts + b * batch.N, ious + b * batch.N, totals + b);
  });
}

std::tuple<Tensor, Tensor, Tensor> ota(const Tensor& pred_boxes, const Tensor& cls_logits,
                                       const std::optional<Tensor>& obj_logits, const Tensor& anchor_points,
                                       const Tensor& strides, const Tensor& gt_boxes, const Tensor& gt_labels,
                                       const std::optional<Tensor>& num_gts, double center_radius, int64_t topk,
                                       double iou_weight, double epsilon, int64_t iterations, double tolerance,
                                       double focal_alpha, double focal_gamma) {
  const Scene scene{pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts};
  scene.check();
  const OtaRule rule =
      parse_ota(center_radius, topk, iou_weight, epsilon, iterations, tolerance, focal_alpha, focal_gamma);
  const int64_t B = pred_boxes.size(0), N = pred_boxes.size(1);
  Tensor matched_gt = torch::stable::new_empty(pred_boxes, {B, N}, ScalarType::Long);
  Tensor matched_iou = torch::stable::new_empty(pred_boxes, {B, N}, ScalarType::Float);
  Tensor num_fg = torch::stable::new_empty(pred_boxes, {B}, ScalarType::Long);
  dispatch_batch(scene, rule.region, [&](const auto& batch) { assign(batch, rule, matched_gt, matched_iou, num_fg); });
  return {matched_gt, matched_iou, num_fg};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) { m.impl("ota", TORCH_BOX(&yolox_ops::ota)); }
