#include "assign/describe.cuh"

namespace yolox_ops {
namespace {

constexpr int kFillers = 256;

// A thread owns one anchor and walks down the ground truths, so that neighbouring threads write neighbouring elements.
template <class T, class Dtypes>
__global__ void __launch_bounds__(kFillers, 2) fill(Batch<T, Dtypes> batch, CandidateLists<T> lists,
                                                    const int32_t* slots,  // [B, N]
                                                    double* cost,          // [B, G, N]
                                                    T* overlap) {          // [B, G, N]
  for (int64_t b = blockIdx.z; b < batch.B; b += gridDim.z) {
    const int64_t gts = batch.count_gts(b);
    const Chunk<T>* chunks = lists.chunks + b * lists.tiles * kChunks;
    for (int64_t first = blockIdx.x * int64_t{kFillers}; first < batch.N; first += gridDim.x * int64_t{kFillers}) {
      const int64_t anchor = first + threadIdx.x;
      const int32_t slot = anchor < batch.N ? slots[b * batch.N + anchor] : -1;
      Candidate<T> c{};
      if (slot >= 0) c = chunks[slot / kLanes].at(slot % kLanes);
      for (int64_t g = blockIdx.y; g < batch.G && anchor < batch.N; g += gridDim.y) {
        double pair = INFINITY;
        T common = T(0);
        if (slot >= 0 && g < gts) {
          const Truth<T> gt = batch.read_gt(b, g);
          if (gt.real) {
            common = iou(gt.box, c.box);
            pair = full_cost_of(batch, b, c, gt, common);
          }
        }
        const int64_t out = (b * batch.G + g) * batch.N + anchor;
        cost[out] = pair;
        overlap[out] = zero_if_nan(common);
      }
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
  const int64_t B = pred_boxes.size(0), G = gt_boxes.size(1), N = pred_boxes.size(1);
  Tensor cost = torch::stable::new_empty(pred_boxes, {B, G, N}, ScalarType::Double);
  Tensor overlap = torch::stable::new_empty(pred_boxes, {B, G, N}, compute_dtype(pred_boxes));
  if (cost.numel() == 0) return {cost, overlap};
  Tensor slots = torch::stable::new_empty(pred_boxes, {B, N}, ScalarType::Int);
  int32_t* slot = slots.mutable_data_ptr<int32_t>();
  dispatch_scene(scene, rule, [&]<class T, class Dtypes>(const Batch<T, Dtypes>& batch) {
    const FoundCandidates<T> found(device, pred_boxes, batch, Marks{slot, nullptr, nullptr});
    device.launch(fill<T, Dtypes>, dim3(blocks(N, kFillers), blocks(G, 1), blocks(B, 1)), kFillers, batch, found.lists,
                  slot, cost.mutable_data_ptr<double>(), overlap.mutable_data_ptr<T>());
  });
  return {cost, overlap};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("simota_cost", TORCH_BOX(&yolox_ops::simota_cost)); }
