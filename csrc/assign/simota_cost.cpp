#include <limits>

#include "assign/image.h"
#include "core/memory.h"
#include "core/parallel.h"

namespace yolox_ops {
namespace {

// Ground truths that are worth a thread of their own.
constexpr int64_t kGrain = 1;

// Sets costs and overlaps of ground truth g with the candidates.
template <class T>
void fill_row(const Image<T>& image, Pairs<T>& pairs, int64_t g,
              double* cost,  // [N]
              T* overlap) {  // [N]
  const Rule& rule = image.batch->rule;
  const int64_t n = image.size();
  image.cost_row(pairs, g);
  for (int64_t i = 0; i < n; ++i) {
    cost[image.anchor[i]] = static_cast<double>(pairs.cost[i]) + rule.outside_penalty;
    overlap[image.anchor[i]] = zero_if_nan(pairs.overlap[i]);
  }
  for (int32_t i : image.inside_of(g)) cost[image.anchor[i]] = static_cast<double>(pairs.cost[i]);
}

template <class T>
void fill_matrices(const Batch<T>& batch,
                   Tensor& cost,       // [B, G, N]
                   Tensor& overlap) {  // [B, G, N]
  double* costs = cost.mutable_data_ptr<double>();
  T* overlaps = overlap.mutable_data_ptr<T>();
  parallel_items<Image<T>>(batch.B, [&](Image<T>& image, int64_t b) {
    image.prepare(batch, b);
    parallel_for(0, batch.G, kGrain, [&](int64_t begin, int64_t end) {
      Pairs<T> pairs;
      for (int64_t g = begin; g < end; ++g) {
        double* cost_row = costs + (b * batch.G + g) * batch.N;
        T* overlap_row = overlaps + (b * batch.G + g) * batch.N;
        std::fill_n(cost_row, batch.N, std::numeric_limits<double>::infinity());
        std::fill_n(overlap_row, batch.N, T(0));
        if (g < image.gts) fill_row(image, pairs, g, cost_row, overlap_row);
      }
    });
  });
}

std::tuple<Tensor, Tensor> simota_cost(const Tensor& pred_boxes,                 // [B, N, 4]
                                       const Tensor& cls_logits,                 // [B, N, C]
                                       const std::optional<Tensor>& obj_logits,  // [B, N]
                                       const Tensor& anchor_points,              // [N, 2]
                                       const Tensor& strides,                    // [N]
                                       const Tensor& gt_boxes,                   // [B, G, 4]
                                       const Tensor& gt_labels,                  // [B, G]
                                       const std::optional<Tensor>& num_gts,     // [B]
                                       double center_radius, std::string candidates, double outside_penalty,
                                       double cls_weight, double iou_weight, double iou_eps) {
  const Scene scene{pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts};
  scene.check();
  const Rule rule = parse_rule(center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps, 1, "down");
  const std::initializer_list<int64_t> shape = {pred_boxes.size(0), gt_boxes.size(1), pred_boxes.size(1)};
  Tensor cost = torch::stable::new_empty(pred_boxes, shape, ScalarType::Double);
  Tensor overlap = torch::stable::new_empty(pred_boxes, shape, compute_dtype(pred_boxes));
  prefer_huge_pages(cost);
  prefer_huge_pages(overlap);
  dispatch_batch(scene, rule, [&](const auto& batch) { fill_matrices(batch, cost, overlap); });
  return {cost, overlap};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_FRAGMENT(yolox_ops, m) {
  m.def("simota_cost(" YOLOX_OPS_SCENE ", " YOLOX_OPS_COST_RULE ") -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) { m.impl("simota_cost", TORCH_BOX(&yolox_ops::simota_cost)); }
