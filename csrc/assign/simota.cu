#include <functional>

#include "assign/candidates.cuh"
#include "assign/select.cuh"

namespace yolox_ops {
namespace {

// Threads that match one ground truth.
constexpr int kThreads = 128;
// Overlaps, and pairs, that a block keeps in shared memory; what exceeds that is computed anew in every round.
constexpr int kKept = 1024;

// A ground truth that a block matches.
template <class T>
struct Row {
  const Batch<T>& batch;
  int64_t b;
  Truth<T> gt;
  const Candidate<T>* candidates;  // [N], of the image
  int32_t (&ends)[kTilesAtOnce];   // of each_candidate
};

// Overlaps with all candidates.
template <class T>
struct AllOverlaps {
  const Row<T>& row;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    each_candidate(row.batch, row.b, row.ends, [&](int64_t slot) { visit(iou(row.gt.box, row.candidates[slot].box)); });
  }
};

// Pairs with all candidates, with the penalty.
template <class T>
struct AllPairs {
  const Row<T>& row;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    each_candidate(row.batch, row.b, row.ends,
                   [&](int64_t slot) { visit(Pair{row.batch.full_cost(row.b, row.candidates[slot], row.gt), slot}); });
  }
};

// Lists the overlaps with candidates, and the pairs that pay no penalty. Returns how many candidates there are.
template <class T>
__device__ __forceinline__ int64_t list_inside(const Row<T>& row, Shortlist<T, kKept>& overlaps,
                                               Shortlist<Pair, kKept>& pairs) {
  __syncthreads();  // until the lists before are read
  overlaps.clear();
  pairs.clear();
  const int64_t size = each_candidate(row.batch, row.b, row.ends, [&](int64_t slot) {
    const Candidate<T> c = row.candidates[slot];
    const T overlap = iou(row.gt.box, c.box);
    if (overlap > T(0)) overlaps.push(overlap);
    if (row.batch.is_inside(c, row.gt)) pairs.push({row.batch.cost(row.b, c, row.gt, overlap), slot});
  });
  __syncthreads();
  return size;
}

// Lists the pairs with all candidates in place of those that pay no penalty.
template <class T>
__device__ __forceinline__ void list_all(const Row<T>& row, Shortlist<Pair, kKept>& pairs) {
  pairs.clear();
  AllPairs<T>{row}.each([&](const Pair& pair) { pairs.push(pair); });
  __syncthreads();
}

// How many of the pairs that pay no penalty no penalised one can precede; 0 if they are not all listed.
__device__ __forceinline__ int32_t count_safe(const Shortlist<Pair, kKept>& pairs, const Rule& rule) {
  int32_t safe = 0;
  if (pairs.complete()) pairs.each([&](const Pair& pair) { safe += pair.cost < least_penalised(rule); });
  return block_reduce<kThreads>(safe, std::plus<>());
}

// A block finds dynamic k of one ground truth and takes its k candidates.
template <class T>
__global__ void __launch_bounds__(kThreads, 4) take_candidates(Batch<T> batch) {
  __shared__ Shortlist<T, kKept> overlaps;
  __shared__ Shortlist<Pair, kKept> pairs;
  __shared__ int32_t ends[kTilesAtOnce];
  for (int64_t b = blockIdx.y; b < batch.B; b += gridDim.y) {
    int32_t* owners = batch.owners + b * batch.N;
    const int64_t gts = batch.count_gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      const Row<T> row{batch, b, batch.read_gt(b, g), batch.candidates + b * batch.N, ends};
      if (!row.gt.real) continue;
      const int64_t size = list_inside(row, overlaps, pairs);
      if (size == 0) continue;

      const int64_t q = min(batch.rule.topk, size);
      const T sum = sum_largest_by_block<kThreads>(overlaps, AllOverlaps<T>{row}, q);
      const int64_t k = dynamic_k(sum, q, batch.rule.to_nearest);
      if (count_safe(pairs, batch.rule) >= k) {
        take_preferred<kThreads>(pairs, k, g, owners);
      } else {  // the rare row that reaches beyond its own geometry
        list_all(row, pairs);
        take_preferred<kThreads>(pairs, AllPairs<T>{row}, k, g, owners);
      }
    }
  }
}

// The ground truth of lowest cost for a candidate, over all of the image, whoever took it; by a warp.
template <class T>
__device__ int32_t find_cheapest_gt(const Batch<T>& batch, int64_t b, const Candidate<T>& c) {
  Preference best(INFINITY, INT64_MAX);
  for (int64_t g = threadIdx.x % 32; g < batch.count_gts(b); g += 32) {
    const Truth<T> gt = batch.read_gt(b, g);
    if (gt.real) best = Best()(best, Preference(batch.full_cost(b, c, gt), g));
  }
  return static_cast<int32_t>(warp_reduce(best, Best()).index);
}

// A block settles the conflicts of a tile and writes what its anchors match.
template <class T>
__global__ void __launch_bounds__(kTile, 2) settle(Batch<T> batch,
                                                   int64_t* matched_gt,   // [B, N]
                                                   float* matched_iou) {  // [B, N]
  for (int64_t b = blockIdx.y; b < batch.B; b += gridDim.y) {
    for (int64_t tile = blockIdx.x; tile < batch.tiles; tile += gridDim.x) {
      const int64_t first = b * batch.N + tile * kTile, mine = first + threadIdx.x;
      if (tile * kTile + threadIdx.x < batch.N) {
        matched_gt[mine] = kNobody;
        matched_iou[mine] = 0.0f;
      }
      __syncthreads();
      const Candidate<T>* of_warp = batch.candidates + first + threadIdx.x / 32 * 32;
      const int32_t taken = threadIdx.x < batch.counts[b * batch.tiles + tile] ? batch.owners[mine] : kNobody;
      const int32_t owner = settle_owner(taken, [&](int lane) { return find_cheapest_gt(batch, b, of_warp[lane]); });
      if (owner != kNobody) {
        const Candidate<T> c = batch.candidates[mine];
        const T overlap = iou(batch.read_gt(b, owner).box, c.box);
        matched_gt[b * batch.N + c.anchor] = owner;
        matched_iou[b * batch.N + c.anchor] = static_cast<float>(zero_if_nan(overlap));
      }
      count_owned(owner, batch.num_fg + b);
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
  Tensor owners = torch::stable::new_empty(pred_boxes, {B, N}, ScalarType::Int);
  dispatch_dtype(compute_dtype(pred_boxes), [&]<class T>() {
    const PreparedBatch<T> prepared(device, scene, rule, owners.mutable_data_ptr<int32_t>(),
                                    matches.num_fg.mutable_data_ptr<int64_t>());
    const Batch<T>& batch = prepared.batch;
    if (G > 0) device.launch(take_candidates<T>, dim3(blocks(G, 1), blocks(B, 1)), kThreads, batch);
    device.launch(settle<T>, dim3(blocks(batch.tiles, 1), blocks(B, 1)), kTile, batch,
                  matches.matched_gt.mutable_data_ptr<int64_t>(), matches.matched_iou.mutable_data_ptr<float>());
  });
  return matches.tensors();
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("simota", TORCH_BOX(&yolox_ops::simota)); }
