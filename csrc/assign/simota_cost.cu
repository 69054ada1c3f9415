#include "assign/candidates.cuh"

namespace yolox_ops {
namespace {

// A thread owns one anchor and walks down the ground truths, so that neighbouring threads write neighbouring elements.
template <class T>
__global__ void __launch_bounds__(kTile, 2) fill(Batch<T> batch,
                                                 double* cost,  // [B, G, N]
                                                 T* overlap) {  // [B, G, N]
  __shared__ int32_t slot_of[kTile];  // where a tile's anchor lies among its candidates, or -1
  for (int64_t b = blockIdx.z; b < batch.B; b += gridDim.z) {
    const int64_t gts = batch.count_gts(b);
    for (int64_t tile = blockIdx.x; tile < batch.tiles; tile += gridDim.x) {
      const int64_t first = tile * kTile, anchor = first + threadIdx.x;
      const Candidate<T>* candidates = batch.candidates + b * batch.N + first;
      slot_of[threadIdx.x] = -1;
      __syncthreads();
      if (threadIdx.x < batch.counts[b * batch.tiles + tile]) {
        slot_of[candidates[threadIdx.x].anchor - first] = threadIdx.x;
      }
      __syncthreads();
      const int32_t slot = slot_of[threadIdx.x];
      for (int64_t g = blockIdx.y; g < batch.G && anchor < batch.N; g += gridDim.y) {
        double pair = INFINITY;
        T common = T(0);
        if (slot >= 0 && g < gts) {
          const Truth<T> gt = batch.read_gt(b, g);
          if (gt.real) {
            const Candidate<T> c = candidates[slot];
            pair = batch.full_cost(b, c, gt);
            common = iou(gt.box, c.box);
          }
        }
        const int64_t out = (b * batch.G + g) * batch.N + anchor;
        cost[out] = pair;
        overlap[out] = zero_if_nan(common);
      }
      __syncthreads();
    }
  }
}

std::tuple<Tensor, Tensor> simota_cost(const Tensor& pred_boxes,                 // [B, N, 4], cx, cy, w, h
                                       const Tensor& cls_logits,                 // [B, N, C]
                                       const std::optional<Tensor>& obj_logits,  // [B, N]
                                       const Tensor& anchor_points,              // [N, 2]
                                       const Tensor& strides,                    // [N]
                                       const Tensor& gt_boxes,                   // [B, G, 4], cx, cy, w, h
                                       const Tensor& gt_labels,                  // [B, G]
                                       const std::optional<Tensor>& num_gts,     // [B]
                                       double center_radius, std::string candidates, double outside_penalty,
                                       double cls_weight, double iou_weight, double iou_eps) {
  const Device device(pred_boxes);
  const Scene scene{pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts};
  scene.check();
  const Rule rule = parse_rule(center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps, 1, "down");
  const ScalarType dtype = compute_dtype(pred_boxes);
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
