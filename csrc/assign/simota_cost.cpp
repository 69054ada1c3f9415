#include <limits>

#include "assign/image.h"
#include "core/memory.h"
#include "core/parallel.h"

namespace yolox_ops {
namespace {

// Ground truths that are worth a thread of their own.
constexpr int64_t kGrain = 1;

// Fills the rows of ground truth g: cost [N] and overlap [N].
template <class T>
void fill_row(const Image<T>& image, Pairs<T>& pairs, int64_t g, double* cost, T* overlap) {
  const Rule& rule = image.batch->rule;
  const int64_t n = image.size();
  image.cost_row(pairs, g);
  for (int64_t i = 0; i < n; ++i) {
    cost[image.anchor[i]] = static_cast<double>(pairs.cost[i]) + rule.outside_penalty;
    overlap[image.anchor[i]] = pairs.overlap[i] == pairs.overlap[i] ? pairs.overlap[i] : T(0);
  }
  for (int64_t at = image.inside_begin[g]; at < image.inside_begin[g + 1]; ++at) {
    const int32_t i = image.inside[at];
    cost[image.anchor[i]] = static_cast<double>(pairs.cost[i]);
  }
}

template <class T>
void fill(const Batch<T>& batch, Tensor& cost, Tensor& overlap) {
  double* costs = cost.mutable_data_ptr<double>();
  T* overlaps = overlap.mutable_data_ptr<T>();
  parallel_items<Image<T>>(batch.B, [&](Image<T>& image, int64_t b) {
    image.prepare(batch, b);
    parallel_for(0, batch.G, kGrain, [&](int64_t begin, int64_t end) {
      Pairs<T> pairs;
      for (int64_t g = begin; g < end; ++g) {
        const int64_t row = (b * batch.G + g) * batch.N;
        std::fill_n(costs + row, batch.N, std::numeric_limits<double>::infinity());
        std::fill_n(overlaps + row, batch.N, T(0));
        if (g < image.gts) fill_row(image, pairs, g, costs + row, overlaps + row);
      }
    });
  });
}

std::tuple<Tensor, Tensor> simota_cost(const Tensor& pred_boxes, const Tensor& cls_logits,
                                       const std::optional<Tensor>& obj_logits, const Tensor& anchor_points,
                                       const Tensor& strides, const Tensor& gt_boxes, const Tensor& gt_labels,
                                       const std::optional<Tensor>& num_gts, double center_radius,
                                       std::string candidates, double outside_penalty, double cls_weight,
                                       double iou_weight, double iou_eps) {
  const Scene scene{pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts};
  scene.check();
  const Rule rule = parse_rule(center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps, 1, "down");
  const std::initializer_list<int64_t> shape = {pred_boxes.size(0), gt_boxes.size(1), pred_boxes.size(1)};
  Tensor cost = torch::stable::new_empty(pred_boxes, shape, ScalarType::Double);
  Tensor overlap =
      torch::stable::new_empty(pred_boxes, shape, is_float64(pred_boxes) ? ScalarType::Double : ScalarType::Float);
  prefer_huge_pages(cost);
  prefer_huge_pages(overlap);
  dispatch_batch(scene, rule, [&](const auto& batch) { fill(batch, cost, overlap); });
  return {cost, overlap};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) { m.impl("simota_cost", TORCH_BOX(&yolox_ops::simota_cost)); }
