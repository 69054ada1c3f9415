#include <functional>

#include "assign/describe.cuh"
#include "assign/select.cuh"

namespace yolox_ops {
namespace {

// Threads that match one ground truth.
constexpr int kThreads = 128;
// Anchors that a block settles, a thread each.
constexpr int kSettlers = 256;
// Overlaps, and pairs, that a block keeps in shared memory; what exceeds that is computed anew in every round.
constexpr int kKept = 1024;

// A ground truth that a block matches.
template <class T, class Dtypes>
struct Row {
  const Batch<T, Dtypes>& batch;
  const CandidateLists<T>& lists;
  int64_t b;
  Truth<T> gt;

  __device__ __forceinline__ T overlap(const Candidate<T>& c) const { return iou(gt.box, c.box); }
};

// Overlaps with all candidates.
template <class T, class Dtypes>
struct AllOverlaps {
  const Row<T, Dtypes>& row;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    each_candidate(row.lists, row.b, [&](const Candidate<T>& c) { visit(row.overlap(c)); });
  }
};

// Pairs with all candidates, with the penalty.
template <class T, class Dtypes>
struct AllPairs {
  const Row<T, Dtypes>& row;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    each_candidate(row.lists, row.b, [&](const Candidate<T>& c) {
      visit(Pair{full_cost_of(row.batch, row.b, c, row.gt, row.overlap(c)), c.anchor});
    });
  }
};

// Lists the overlaps with candidates, and the pairs that pay no penalty. Returns how many candidates there are.
template <class T, class Dtypes>
__device__ __forceinline__ int64_t list_inside(const Row<T, Dtypes>& row, Shortlist<T, kKept>& overlaps,
                                               Shortlist<Pair, kKept>& pairs) {
  __syncthreads();  // until the lists before are read
  overlaps.clear();
  pairs.clear();
  __syncthreads();
  const int64_t size = each_candidate(row.lists, row.b, [&](const Candidate<T>& c) {
    const T overlap = row.overlap(c);
    if (overlap > T(0)) overlaps.push(overlap);
    if (is_inside(row.batch, c, row.gt)) pairs.push({cost_of(row.batch, row.b, c, row.gt, overlap), c.anchor});
  });
  __syncthreads();
  return size;
}

// Lists the pairs with all candidates in place of those that pay no penalty.
template <class T, class Dtypes>
__device__ __forceinline__ void list_all(const Row<T, Dtypes>& row, Shortlist<Pair, kKept>& pairs) {
  pairs.clear();
  __syncthreads();
  AllPairs<T, Dtypes>{row}.each([&](const Pair& pair) { pairs.push(pair); });
  __syncthreads();
}

// How many of the pairs that pay no penalty no penalised one can precede; 0 if they are not all listed.
__device__ __forceinline__ int32_t count_safe(const Shortlist<Pair, kKept>& pairs, const Rule& rule) {
  int32_t safe = 0;
  if (pairs.complete()) pairs.each([&](const Pair& pair) { safe += pair.cost < least_penalised(rule); });
  return block_reduce<kThreads>(safe, std::plus<>());
}

// A block finds dynamic k of one ground truth and takes its k candidates.
template <class T, class Dtypes>
__global__ void __launch_bounds__(kThreads, 4) take_candidates(Batch<T, Dtypes> batch, CandidateLists<T> lists,
                                                               int32_t* owner) {  // [B, N]
  __shared__ Shortlist<T, kKept> overlaps;
  __shared__ Shortlist<Pair, kKept> pairs;
  for (int64_t b = blockIdx.y; b < batch.B; b += gridDim.y) {
    int32_t* owners = owner + b * batch.N;
    const int64_t gts = batch.count_gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      const Row<T, Dtypes> row{batch, lists, b, batch.read_gt(b, g)};
      if (!row.gt.real) continue;
      const int64_t size = list_inside(row, overlaps, pairs);
      if (size == 0) continue;

      const int64_t q = min(batch.rule.topk, size);
      const T sum = sum_largest_by_block<kThreads>(overlaps, AllOverlaps<T, Dtypes>{row}, q);
      const int64_t k = dynamic_k(sum, q, batch.rule.to_nearest);
      if (count_safe(pairs, batch.rule) >= k) {
        take_preferred<kThreads>(pairs, k, g, owners);
      } else {  // the rare row that reaches beyond its own geometry
        list_all(row, pairs);
        take_preferred<kThreads>(pairs, AllPairs<T, Dtypes>{row}, k, g, owners);
      }
    }
  }
}

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
                                                       const int32_t* owners,  // [B, N]
                                                       int64_t* matched_gt,    // [B, N]
                                                       float* matched_iou,     // [B, N]
                                                       int64_t* num_fg) {      // [B]
  for (int64_t b = blockIdx.y; b < batch.B; b += gridDim.y) {
    for (int64_t first = blockIdx.x * int64_t{kSettlers}; first < batch.N; first += gridDim.x * int64_t{kSettlers}) {
      const int64_t anchor = first + threadIdx.x, of_warp = anchor - lane_of(), at = b * batch.N + anchor;
      const int32_t taken = anchor < batch.N ? owners[at] : kNobody;
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
  Tensor owners = torch::stable::new_empty(pred_boxes, {B, N}, ScalarType::Int);
  int32_t* owner = owners.mutable_data_ptr<int32_t>();
  int64_t* num_fg = matches.num_fg.mutable_data_ptr<int64_t>();
  dispatch_scene(scene, rule, [&]<class T, class Dtypes>(const Batch<T, Dtypes>& batch) {
    const FoundCandidates<T> found(device, pred_boxes, batch, Marks{nullptr, owner, num_fg});
    if (G > 0) {
      device.launch(take_candidates<T, Dtypes>, dim3(blocks(G, 1), blocks(B, 1)), kThreads, batch, found.lists, owner);
    }
    device.launch(settle<T, Dtypes>, dim3(blocks(N, kSettlers), blocks(B, 1)), kSettlers, batch, owner,
                  matches.matched_gt.mutable_data_ptr<int64_t>(), matches.matched_iou.mutable_data_ptr<float>(),
                  num_fg);
  });
  return matches.tensors();
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("simota", TORCH_BOX(&yolox_ops::simota)); }
