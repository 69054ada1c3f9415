#include "assign/matches.h"
#include "core/parallel.h"
#include "transport/ota_image.h"

namespace yolox_ops {
namespace {

template <class T>
void match_image(OtaImage<T>& image, const Batch<T>& batch, const OtaRule& rule, int64_t b, const ImageMatches& out) {
  out.clear(batch.N);
  if (batch.counts[b] == 0 || batch.N == 0) return;
  image.prepare(batch, rule, b);
  image.solve();
  image.decode(out);
}

std::tuple<Tensor, Tensor, Tensor> ota(const Tensor& pred_boxes,                 // [B, N, 4]
                                       const Tensor& cls_logits,                 // [B, N, C]
                                       const std::optional<Tensor>& obj_logits,  // [B, N]
                                       const Tensor& anchor_points,              // [N, 2]
                                       const Tensor& strides,                    // [N]
                                       const Tensor& gt_boxes,                   // [B, G, 4]
                                       const Tensor& gt_labels,                  // [B, G]
                                       const std::optional<Tensor>& num_gts,     // [B]
                                       double center_radius, int64_t topk, double iou_weight, double epsilon,
                                       int64_t iterations, double tolerance, double focal_alpha, double focal_gamma) {
  const Scene scene{pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts};
  scene.check();
  const OtaRule rule =
      parse_ota(center_radius, topk, iou_weight, epsilon, iterations, tolerance, focal_alpha, focal_gamma);
  Matches matches(scene);
  const MatchesByImage out(matches);
  dispatch_batch(scene, rule.region, [&]<class T>(const Batch<T>& batch) {
    parallel_items<OtaImage<T>>(batch.B,
                                [&](OtaImage<T>& image, int64_t b) { match_image(image, batch, rule, b, out[b]); });
  });
  return matches.tensors();
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_FRAGMENT(yolox_ops, m) {
  m.def("ota(" YOLOX_OPS_SCENE
        ", float center_radius, int topk, float iou_weight, float epsilon, int iterations, float tolerance, "
        "float focal_alpha, float focal_gamma) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) { m.impl("ota", TORCH_BOX(&yolox_ops::ota)); }
