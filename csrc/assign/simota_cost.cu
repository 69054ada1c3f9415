#include "assign/candidates.cuh"

namespace yolox_ops {
namespace {

// A thread owns one anchor and walks down the ground truths, so that neighbouring threads write neighbouring elements.
template <class T>
__global__ void __launch_bounds__(kTile, 2) fill(Batch<T> s, double* cost, T* overlap) {
  __shared__ int32_t place_of[kTile];  // where a tile's anchor lies among its candidates, or -1
  for (int64_t b = blockIdx.z; b < s.B; b += gridDim.z) {
    const int64_t gts = s.gts(b);
    for (int64_t tile = blockIdx.x; tile < s.tiles; tile += gridDim.x) {
      const int64_t first = tile * kTile, anchor = first + threadIdx.x;
      const Candidate<T>* candidates = s.candidates + b * s.N + first;
      place_of[threadIdx.x] = -1;
      __syncthreads();
      if (threadIdx.x < s.counts[b * s.tiles + tile]) place_of[candidates[threadIdx.x].anchor - first] = threadIdx.x;
      __syncthreads();
      const int32_t at = place_of[threadIdx.x];
      for (int64_t g = blockIdx.y; g < s.G && anchor < s.N; g += gridDim.y) {
        double pair = INFINITY;
        T common = T(0);
        if (at >= 0 && g < gts) {
          const Truth<T> gt = s.truth(b, g);
          if (gt.real) {
            const Candidate<T> c = candidates[at];
            pair = s.full_cost(b, c, gt);
            common = iou(gt.box, c.box);
          }
        }
        const int64_t out = (b * s.G + g) * s.N + anchor;
        cost[out] = pair;
        overlap[out] = common == common ? common : T(0);
      }
      __syncthreads();
    }
  }
}

std::tuple<Tensor, Tensor> simota_cost(const Tensor& pred_boxes, const Tensor& cls_logits,
                                       const std::optional<Tensor>& obj_logits, const Tensor& anchor_points,
                                       const Tensor& strides, const Tensor& gt_boxes, const Tensor& gt_labels,
                                       const std::optional<Tensor>& num_gts, double center_radius,
                                       std::string candidates, double outside_penalty, double cls_weight,
                                       double iou_weight, double iou_eps) {
  const Device device(pred_boxes);
  const Scene scene{pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts};
  scene.check();
  const Rule rule = parse_rule(center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps, 1, "down");
  const ScalarType dtype = is_float64(pred_boxes) ? ScalarType::Double : ScalarType::Float;
  const int64_t B = pred_boxes.size(0), G = gt_boxes.size(1), N = pred_boxes.size(1);
  Tensor cost = torch::stable::new_empty(pred_boxes, {B, G, N}, ScalarType::Double);
  Tensor overlap = torch::stable::new_empty(pred_boxes, {B, G, N}, dtype);
  if (cost.numel() == 0) return {cost, overlap};
  dispatch_dtype(dtype, [&]<class T>() {
    const PreparedBatch<T> prepared(device, scene, rule, nullptr, nullptr);
    const Batch<T>& batch = prepared.batch;
    device.launch(fill<T>, dim3(blocks(batch.tiles, 1), blocks(G, 1), blocks(B, 1)), kTile, batch,
                  cost.mutable_data_ptr<double>(), overlap.mutable_data_ptr<T>());
  });
  return {cost, overlap};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("simota_cost", TORCH_BOX(&yolox_ops::simota_cost)); }
