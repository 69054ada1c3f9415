#include <functional>

#include "assign/candidates.cuh"
#include "assign/select.cuh"
#include "core/shortlist.cuh"

namespace yolox_ops {
namespace {

// Threads that match one ground truth.
constexpr int kThreads = 128;
// Overlaps, and pairs, that a block keeps in shared memory; what exceeds that is computed anew in every round.
constexpr int kKept = 1024;

struct Pair {
  double cost;
  int64_t at;
};

// A block finds dynamic k of one ground truth and takes its k candidates.
template <class T>
__global__ void __launch_bounds__(kThreads, 4) take_candidates(Batch<T> s) {
  __shared__ Shortlist<T, kKept> overlaps;
  __shared__ Shortlist<Pair, kKept> pairs;
  __shared__ int32_t ends[kTilesAtOnce];
  for (int64_t b = blockIdx.y; b < s.B; b += gridDim.y) {
    const Candidate<T>* candidates = s.candidates + b * s.N;
    int32_t* owners = s.owners + b * s.N;
    const int64_t gts = s.gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      const Truth<T> gt = s.truth(b, g);
      if (!gt.real) continue;
      const auto take = [&](int64_t at) { take_anchor(owners + at, g); };
      const auto take_from_pairs = [&](int64_t k) {
        take_preferred<kThreads>(
            [&](const auto& visit) { pairs.each([&](const Pair& pair) { visit(Preference(pair.cost, pair.at)); }); }, k,
            take);
      };

      __syncthreads();
      if (threadIdx.x == 0) overlaps.count = pairs.count = 0;
      const int64_t size = each_candidate(s, b, ends, [&](int64_t at) {
        const Candidate<T> c = candidates[at];
        const T overlap = iou(gt.box, c.box);
        if (overlap > T(0)) overlaps.push(overlap);
        if (s.is_inside(c, gt)) pairs.push({s.cost(b, c, gt, overlap), at});
      });
      __syncthreads();
      if (size == 0) continue;

      const int64_t q = min(s.rule.topk, size);
      const T sum = overlaps.complete()
                        ? sum_largest_by_block<kThreads, T>([&](const auto& visit) { overlaps.each(visit); }, q)
                        : sum_largest_by_block<kThreads, T>(
                              [&](const auto& visit) {
                                each_candidate(s, b, ends, [&](int64_t at) { visit(iou(gt.box, candidates[at].box)); });
                              },
                              q);
      const int64_t k = dynamic_k(sum, q, s.rule.to_nearest);

      int32_t safe = 0;  // pairs that no penalised one can precede
      if (pairs.complete()) pairs.each([&](const Pair& pair) { safe += pair.cost < least_penalised(s.rule); });
      if (block_reduce<kThreads>(safe, std::plus<>()) >= k) {
        take_from_pairs(k);
        continue;
      }
      // The rare row that reaches beyond its own geometry.
      if (threadIdx.x == 0) pairs.count = 0;
      each_candidate(s, b, ends, [&](int64_t at) { pairs.push({s.full_cost(b, candidates[at], gt), at}); });
      __syncthreads();
      if (pairs.complete()) {
        take_from_pairs(k);
      } else {
        const auto each = [&](const auto& visit) {
          each_candidate(s, b, ends, [&](int64_t at) { visit(Preference(s.full_cost(b, candidates[at], gt), at)); });
        };
        take_preferred<kThreads>(each, k, take);
      }
    }
  }
}

// The ground truth of lowest cost for a candidate, over all of the image, whoever took it; by a warp.
template <class T>
__device__ int32_t cheapest_gt(const Batch<T>& s, int64_t b, const Candidate<T>& c) {
  Preference best(INFINITY, INT64_MAX);
  for (int64_t g = threadIdx.x % 32; g < s.gts(b); g += 32) {
    const Truth<T> gt = s.truth(b, g);
    if (gt.real) best = Best()(best, Preference(s.full_cost(b, c, gt), g));
  }
  return static_cast<int32_t>(warp_reduce(best, Best()).index);
}

// A block settles the conflicts of a tile, a warp to each, and writes what its anchors match.
template <class T>
__global__ void __launch_bounds__(kTile, 2) settle(Batch<T> s, int64_t* matched_gt, float* matched_iou) {
  for (int64_t b = blockIdx.y; b < s.B; b += gridDim.y) {
    for (int64_t tile = blockIdx.x; tile < s.tiles; tile += gridDim.x) {
      const int64_t first = b * s.N + tile * kTile, at = first + threadIdx.x;
      if (tile * kTile + threadIdx.x < s.N) {
        matched_gt[at] = kNobody;
        matched_iou[at] = 0.0f;
      }
      __syncthreads();
      int32_t owner = threadIdx.x < s.counts[b * s.tiles + tile] ? s.owners[at] : kNobody;
      for (uint32_t open = __ballot_sync(kAllLanes, owner == kSeveral); open; open &= open - 1) {
        const int lane = __ffs(open) - 1;
        const int32_t cheapest = cheapest_gt(s, b, s.candidates[first + threadIdx.x / 32 * 32 + lane]);
        if (threadIdx.x % 32 == lane) owner = cheapest;
      }
      if (owner != kNobody) {
        const Candidate<T> c = s.candidates[at];
        const T overlap = iou(s.truth(b, owner).box, c.box);
        matched_gt[b * s.N + c.anchor] = owner;
        matched_iou[b * s.N + c.anchor] = overlap == overlap ? static_cast<float>(overlap) : 0.0f;
      }
      const int found = __syncthreads_count(owner != kNobody);
      if (threadIdx.x == 0 && found > 0) {
        atomicAdd(reinterpret_cast<unsigned long long*>(s.num_fg + b), static_cast<unsigned long long>(found));
      }
    }
  }
}

std::tuple<Tensor, Tensor, Tensor> simota(const Tensor& pred_boxes, const Tensor& cls_logits,
                                          const std::optional<Tensor>& obj_logits, const Tensor& anchor_points,
                                          const Tensor& strides, const Tensor& gt_boxes, const Tensor& gt_labels,
                                          const std::optional<Tensor>& num_gts, double center_radius,
                                          std::string candidates, double outside_penalty, double cls_weight,
                                          double iou_weight, double iou_eps, int64_t topk, std::string k_rounding) {
  const Device device(pred_boxes);
  const Scene scene{pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts};
  scene.check();
  const Rule rule =
      parse_rule(center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps, topk, k_rounding);
  const int64_t B = pred_boxes.size(0), N = pred_boxes.size(1), G = gt_boxes.size(1);
  Tensor matched_gt = torch::stable::new_empty(pred_boxes, {B, N}, ScalarType::Long);
  Tensor matched_iou = torch::stable::new_empty(pred_boxes, {B, N}, ScalarType::Float);
  Tensor num_fg = torch::stable::new_empty(pred_boxes, {B}, ScalarType::Long);
  if (B * N == 0) {
    torch::stable::zero_(num_fg);
    return {matched_gt, matched_iou, num_fg};
  }
  Tensor owners = torch::stable::new_empty(pred_boxes, {B, N}, ScalarType::Int);
  dispatch_dtype(is_float64(pred_boxes) ? ScalarType::Double : ScalarType::Float, [&]<class T>() {
    const PreparedBatch<T> prepared(device, scene, rule, owners.mutable_data_ptr<int32_t>(),
                                    num_fg.mutable_data_ptr<int64_t>());
    const Batch<T>& batch = prepared.batch;
    if (G > 0) device.launch(take_candidates<T>, dim3(blocks(G, 1), blocks(B, 1)), kThreads, batch);
    device.launch(settle<T>, dim3(blocks(batch.tiles, 1), blocks(B, 1)), kTile, batch,
                  matched_gt.mutable_data_ptr<int64_t>(), matched_iou.mutable_data_ptr<float>());
  });
  return {matched_gt, matched_iou, num_fg};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("simota", TORCH_BOX(&yolox_ops::simota)); }
