// simota_cost in three launches: mark and describe find the candidates (mark.cuh, describe.cuh), fill writes the
// matrices. A block has a tile of anchors and a few ground truths: it writes what pairs without a candidate have, then
// its warps write over that for 32 candidates at a time. Rows that only pad need no candidates: the first launches,
// which leave the memory idle, have written them. Bound by memory: 12 bytes a pair, 19 of 20 modelled us for 16 images
// of up to 50 ground truths on an H200.
#include "assign/describe.cuh"

namespace yolox_ops {
namespace {

constexpr int kFillers = 256;
// Ground truths of a block.
constexpr int kRows = 8;

template <class T>
struct CostMatrices {
  double* costs;  // [B, G, N]
  T* overlaps;    // [B, G, N]

  __device__ __forceinline__ void set(int64_t at, double cost, T overlap) const {
    costs[at] = cost;
    overlaps[at] = zero_if_nan(overlap);
  }
};

// Writes the rows of some ground truths over a tile of anchors as if none were a candidate.
template <class T, class Dtypes>
__device__ __forceinline__ void fill_background(const Batch<T, Dtypes>& batch, const CostMatrices<T>& matrices,
                                                int64_t tiles, int64_t b, int64_t tile, int64_t g, int rows) {
  for (int i = threadIdx.x; i < kTile; i += kFillers) {
    const int64_t anchor = anchor_of(tiles, tile, i);
    if (anchor >= batch.N) continue;
    int64_t at = (b * batch.G + g) * batch.N + anchor;
    for (int row = 0; row < rows; ++row, at += batch.N) matrices.set(at, INFINITY, T(0));
  }
}

// Writes the pairs of some ground truths with the candidates of a tile; a warp has a chunk and a ground truth at a
// time.
template <class T, class Dtypes>
__device__ __forceinline__ void fill_candidates(const Batch<T, Dtypes>& batch, const CostMatrices<T>& matrices,
                                                const Chunk<T>* chunks, int32_t count, int64_t b, int64_t g, int rows) {
  for (int i = threadIdx.x / kLanes; i < (count + kLanes - 1) / kLanes * rows; i += kFillers / kLanes) {
    const int chunk = i / rows, row = i - chunk * rows;
    const Truth<T> gt = batch.read_gt(b, g + row);
    if (!gt.real || chunk * kLanes + lane_of() >= count) continue;
    const Candidate<T> c = chunks[chunk].at(lane_of());
    const T overlap = iou(gt.box, c.box);
    matrices.set((b * batch.G + g + row) * batch.N + c.anchor, full_cost_of(batch, b, c, gt, overlap), overlap);
  }
}

template <class T, class Dtypes>
__global__ void __launch_bounds__(kFillers, 4)
    fill(Batch<T, Dtypes> batch, CandidateLists<T> lists, CostMatrices<T> matrices) {
  for (int64_t b = blockIdx.z; b < batch.B; b += gridDim.z) {
    const int64_t gts = batch.count_gts(b);
    for (int64_t tile = blockIdx.x; tile < lists.tiles; tile += gridDim.x) {
      const int32_t count = lists.counts[b * lists.tiles + tile];
      for (int64_t g = blockIdx.y * kRows; g < gts; g += gridDim.y * kRows) {
        const int rows = static_cast<int>(min(int64_t{kRows}, gts - g));
        fill_background(batch, matrices, lists.tiles, b, tile, g, rows);
        __syncthreads();
        fill_candidates(batch, matrices, lists.chunks + (b * lists.tiles + tile) * kChunks, count, b, g, rows);
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
  dispatch_scene(scene, rule, [&]<class T, class Dtypes>(const Batch<T, Dtypes>& batch) {
    const CostMatrices<T> matrices{cost.mutable_data_ptr<double>(), overlap.mutable_data_ptr<T>()};
    const FoundCandidates<T> found(device, pred_boxes, batch,
                                   Besides<T>{.costs = matrices.costs, .overlaps = matrices.overlaps});
    const dim3 grid(blocks(found.lists.tiles, 1), blocks(G, kRows), blocks(B, 1));
    device.launch(fill<T, Dtypes>, grid, kFillers, batch, found.lists, matrices);
  });
  return {cost, overlap};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("simota_cost", TORCH_BOX(&yolox_ops::simota_cost)); }
