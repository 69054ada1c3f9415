// simota in four launches: mark and describe find the candidates (mark.cuh, describe.cuh), take has every ground truth
// take its own (take.cuh), and settle gives every anchor what it matches, a thread to each. An anchor that several took
// goes to the cheapest of those that offered themselves; only where none could does a warp search all ground truths.
// 16 images of 8,400 anchors are bound by the latency of mark's, describe's and take's longest blocks, 17 modelled us
// on an H200 of which issue slots alone take 12; 64 images by issue slots, 53 us.
#include "assign/owners.cuh"
#include "assign/take.cuh"

namespace yolox_ops {
namespace {

// Anchors that a block settles.
constexpr int kSettlers = 256;

// The ground truth of lowest cost for an anchor, over all of the image, whoever took it; by a warp.
template <class T, class Dtypes>
__device__ int32_t find_cheapest_gt(const Batch<T, Dtypes>& batch, int64_t b, int64_t anchor) {
  const Candidate<T> c{batch.read_box(b, anchor), batch.anchor_points.at(anchor, 0), batch.anchor_points.at(anchor, 1),
                       batch.read_reach(anchor),  score_anchor(batch, b, anchor),    static_cast<int32_t>(anchor)};
  Preference best(INFINITY, INT64_MAX);
  for (int64_t g = lane_of(); g < batch.count_gts(b); g += kLanes) {
    const Truth<T> gt = batch.read_gt(b, g);
    if (gt.real) best = Best()(best, Preference(full_cost_of(batch, b, c, gt, iou(gt.box, c.box)), g));
  }
  return static_cast<int32_t>(warp_reduce(best, Best()).index);
}

// Settles conflicts and writes what every anchor matches.
template <class T, class Dtypes>
__global__ void __launch_bounds__(kSettlers, 2) settle(Batch<T, Dtypes> batch,
                                                       const Claim* claims,  // [B, N]
                                                       int64_t* matched_gt,  // [B, N]
                                                       float* matched_iou,   // [B, N]
                                                       int64_t* num_fg) {    // [B]
  for (int64_t b = blockIdx.y; b < batch.B; b += gridDim.y) {
    for (int64_t first = blockIdx.x * int64_t{kSettlers}; first < batch.N; first += gridDim.x * int64_t{kSettlers}) {
      const int64_t anchor = first + threadIdx.x, of_warp = anchor - lane_of(), at = b * batch.N + anchor;
      const int32_t taken = anchor < batch.N ? owner_of(claims[at]) : kNobody;
      const int32_t owner = settle_owner(taken, [&](int lane) { return find_cheapest_gt(batch, b, of_warp + lane); });
      if (anchor < batch.N) {
        const T overlap = owner == kNobody ? T(0) : iou(batch.read_gt(b, owner).box, batch.read_box(b, anchor));
        matched_gt[at] = owner;
        matched_iou[at] = static_cast<float>(zero_if_nan(overlap));
      }
      count_owned(owner, num_fg + b);
    }
  }
}

std::tuple<Tensor, Tensor, Tensor> simota(const Tensor& pred_boxes,                 // [B, N, 4], cx, cy, w, h
                                          const Tensor& cls_logits,                 // [B, N, C]
                                          const std::optional<Tensor>& obj_logits,  // [B, N]
                                          const Tensor& anchor_points,              // [N, 2]
                                          const Tensor& strides,                    // [N]
                                          const Tensor& gt_boxes,                   // [B, G, 4], cx, cy, w, h
                                          const Tensor& gt_labels,                  // [B, G]
                                          const std::optional<Tensor>& num_gts,     // [B]
                                          double center_radius, std::string candidates, double outside_penalty,
                                          double cls_weight, double iou_weight, double iou_eps, int64_t topk,
                                          std::string k_rounding) {
  const Device device(pred_boxes);
  const Scene scene{pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts};
  scene.check();
  const Rule rule =
      parse_rule(center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps, topk, k_rounding);
  const int64_t B = pred_boxes.size(0), N = pred_boxes.size(1), G = gt_boxes.size(1);
  Matches matches(scene);
  if (matches.is_empty()) return matches.tensors();
  Tensor workspace = torch::stable::new_empty(pred_boxes, {B * N * int64_t{sizeof(Claim)}}, ScalarType::Byte);
  Claim* claims = static_cast<Claim*>(workspace.mutable_data_ptr());
  int64_t* num_fg = matches.num_fg.mutable_data_ptr<int64_t>();
  dispatch_scene(scene, rule, [&]<class T, class Dtypes>(const Batch<T, Dtypes>& batch) {
    const FoundCandidates<T> found(device, pred_boxes, batch, Besides<T>{.claims = claims, .num_fg = num_fg});
    if (G > 0) device.launch(take<T, Dtypes>, dim3(blocks(G, 1), blocks(B, 1)), kTakers, batch, found.lists, claims);
    device.launch(settle<T, Dtypes>, dim3(blocks(N, kSettlers), blocks(B, 1)), kSettlers, batch, claims,
                  matches.matched_gt.mutable_data_ptr<int64_t>(), matches.matched_iou.mutable_data_ptr<float>(),
                  num_fg);
  });
  return matches.tensors();
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("simota", TORCH_BOX(&yolox_ops::simota)); }
