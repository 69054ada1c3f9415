// dynamic_k_match in three launches: clear, take, in which a block has a ground truth (by_warps.cuh, or by_rounds.cuh
// where topk is large), and settle, in which a thread has an anchor and a warp searches all ground truths of one that
// several took. Each element of a real row is read once: 8 modelled us for 399 rows of 8,400
// on an H200, of 15 that are bound by the latency of take's longest block.
#include "assign/by_rounds.cuh"
#include "assign/by_warps.cuh"
#include "assign/tensors.h"

namespace yolox_ops {
namespace {

__global__ void clear(Takers* takers,   // [B, N]
                      int64_t* num_fg,  // [B]
                      int64_t B, int64_t N) {
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < B * N; i += gridDim.x * int64_t{kThreads}) {
    takers[i] = 0;
    if (i < B) num_fg[i] = 0;
  }
}

// The ground truth of lowest cost for an anchor, over all of the image, whoever took it; by a warp.
template <class T, class... Readers>
__device__ __forceinline__ int32_t find_cheapest_gt(const Matrices<T, Readers...>& m, int64_t b, int64_t anchor) {
  Preference best(INFINITY, INT64_MAX);
  for (int64_t g = threadIdx.x % 32; g < m.count_gts(b); g += 32) {
    best = Best()(best, Preference(m.costs.at(b, g, anchor), g));
  }
  return static_cast<int32_t>(warp_reduce(best, Best()).index);
}

// Settles conflicts and writes what every anchor matches.
template <class T, class... Readers>
__global__ void __launch_bounds__(kThreads, 2) settle(Matrices<T, Readers...> m,
                                                      int64_t* matched_gt,  // [B, N]
                                                      float* matched_iou,   // [B, N]
                                                      int64_t* num_fg) {    // [B]
  for (int64_t b = blockIdx.y; b < m.B; b += gridDim.y) {
    for (int64_t first = blockIdx.x * int64_t{kThreads}; first < m.N; first += gridDim.x * int64_t{kThreads}) {
      const int64_t j = first + threadIdx.x, of_warp = first + threadIdx.x / 32 * 32;
      const int32_t taken = j < m.N ? owner_of(m.takers[b * m.N + j]) : kNobody;
      const int32_t owner = settle_owner(taken, [&](int lane) { return find_cheapest_gt(m, b, of_warp + lane); });
      if (j < m.N) {
        const T overlap = owner == kNobody ? T(0) : m.overlaps.at(b, owner, j);
        matched_gt[b * m.N + j] = owner;
        matched_iou[b * m.N + j] = static_cast<float>(zero_if_nan(overlap));
      }
      count_owned(owner, num_fg + b);
    }
  }
}

std::tuple<Tensor, Tensor, Tensor> dynamic_k_match(const Tensor& cost,                    // [B, G, N]
                                                   const Tensor& iou,                     // [B, G, N]
                                                   const std::optional<Tensor>& num_gts,  // [B]
                                                   int64_t topk, std::string k_rounding) {
  const Device device(cost);
  check_match(cost, iou, num_gts, topk);
  const bool to_nearest = parse_rounding(k_rounding);
  const int64_t B = cost.size(0), G = cost.size(1), N = cost.size(2);
  Matches matches(cost, B, N);
  if (matches.is_empty()) return matches.tensors();
  Tensor workspace = torch::stable::new_empty(cost, {B, N}, ScalarType::Long);
  Takers* takers = static_cast<Takers*>(workspace.mutable_data_ptr());
  int64_t* num_fg = matches.num_fg.mutable_data_ptr<int64_t>();
  device.launch(clear, blocks(B * N, kThreads), kThreads, takers, num_fg, B, N);
  const auto match = [&]<class T, class Costs, class Overlaps>() {
    const Matrices<T, Costs, Overlaps> matrices{.B = B,
                                                .G = G,
                                                .N = N,
                                                .topk = topk,
                                                .to_nearest = to_nearest,
                                                .has_counts = num_gts.has_value(),
                                                .costs = Costs(cost),
                                                .overlaps = Overlaps(iou),
                                                .num_gts = num_gts ? Reader<int64_t>(*num_gts) : Reader<int64_t>(),
                                                .takers = takers};
    const auto taking = topk > kMostLeaders ? take_by_rounds<T, Costs, Overlaps> : take_by_warps<T, Costs, Overlaps>;
    if (G > 0) device.launch(taking, dim3(blocks(G, 1), blocks(B, 1)), kThreads, matrices);
    device.launch(settle<T, Costs, Overlaps>, dim3(blocks(N, kThreads), blocks(B, 1)), kThreads, matrices,
                  matches.matched_gt.mutable_data_ptr<int64_t>(), matches.matched_iou.mutable_data_ptr<float>(),
                  num_fg);
  };
  if (DenseReader<double>::suits(cost) && DenseReader<float>::suits(iou)) {  // as simota_cost gives them
    match.template operator()<float, DenseReader<double>, DenseReader<float>>();
  } else {
    dispatch_dtype(compute_dtype(iou), [&]<class T>() { match.template operator()<T, Reader<double>, Reader<T>>(); });
  }
  return matches.tensors();
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("dynamic_k_match", TORCH_BOX(&yolox_ops::dynamic_k_match)); }
