#include "assign/counts.cuh"
#include "assign/select.cuh"
#include "assign/tensors.h"
#include "core/reader.h"

namespace yolox_ops {
namespace {

constexpr int kThreads = 256;
// Overlaps, and pairs, that a block keeps in shared memory; what exceeds that is read anew in every round.
constexpr int kKept = 1024;

template <class T>
struct Matrices {
  int64_t B, G, N, topk;
  bool to_nearest, has_counts;
  Reader<double> costs;     // [B, G, N]
  Reader<T> overlaps;       // [B, G, N]
  Reader<int64_t> num_gts;  // [B]
  int32_t* owners;          // [B, N]

  __device__ int64_t count_gts(int64_t b) const { return has_counts ? read_count(num_gts, b, G) : G; }
};

__global__ void clear(int32_t* owners,  // [B, N]
                      int64_t* num_fg,  // [B]
                      int64_t B, int64_t N) {
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < B * N; i += gridDim.x * int64_t{kThreads}) {
    owners[i] = kNobody;
    if (i < B) num_fg[i] = 0;
  }
}

// Overlaps of ground truth g with all anchors.
template <class T>
struct AllOverlaps {
  const Matrices<T>& m;
  int64_t b, g;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    for (int64_t j = threadIdx.x; j < m.N; j += kThreads) visit(m.overlaps.at(b, g, j));
  }
};

// Its pairs with all anchors.
template <class T>
struct AllPairs {
  const Matrices<T>& m;
  int64_t b, g;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    for (int64_t j = threadIdx.x; j < m.N; j += kThreads) visit(Pair{m.costs.at(b, g, j), j});
  }
};

// Lists its overlaps, and the pairs that can match.
template <class T>
__device__ __forceinline__ void list_pairs(const Matrices<T>& m, int64_t b, int64_t g, Shortlist<T, kKept>& overlaps,
                                           Shortlist<Pair, kKept>& pairs) {
  __syncthreads();  // until the lists before are read
  overlaps.clear();
  pairs.clear();
  __syncthreads();
  for (int64_t j = threadIdx.x; j < m.N; j += kThreads) {
    const T overlap = m.overlaps.at(b, g, j);
    const double cost = m.costs.at(b, g, j);
    if (overlap > T(0)) overlaps.push(overlap);
    if (Preference(cost, j).rank < 2) pairs.push({cost, j});
  }
  __syncthreads();
}

// A block finds dynamic k of one ground truth and takes its k anchors.
template <class T>
__global__ void __launch_bounds__(kThreads, 2) take_anchors(Matrices<T> m) {
  __shared__ Shortlist<T, kKept> overlaps;
  __shared__ Shortlist<Pair, kKept> pairs;
  for (int64_t b = blockIdx.y; b < m.B; b += gridDim.y) {
    const int64_t gts = m.count_gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      list_pairs(m, b, g, overlaps, pairs);
      const T sum = sum_largest_by_block<kThreads>(overlaps, AllOverlaps<T>{m, b, g}, m.topk);
      const int64_t k = dynamic_k(sum, pairs.count, m.to_nearest);
      take_preferred<kThreads>(pairs, AllPairs<T>{m, b, g}, k,
                               [&](int64_t anchor) { take_anchor(m.owners + b * m.N + anchor, g); });
    }
  }
}

// The ground truth of lowest cost for an anchor, over all of the image, whoever took it; by a warp.
template <class T>
__device__ __forceinline__ int32_t find_cheapest_gt(const Matrices<T>& m, int64_t b, int64_t anchor) {
  Preference best(INFINITY, INT64_MAX);
  for (int64_t g = threadIdx.x % 32; g < m.count_gts(b); g += 32) {
    best = Best()(best, Preference(m.costs.at(b, g, anchor), g));
  }
  return static_cast<int32_t>(warp_reduce(best, Best()).index);
}

// Settles conflicts and writes what every anchor matches.
template <class T>
__global__ void __launch_bounds__(kThreads, 2) settle(Matrices<T> m,
                                                      int64_t* matched_gt,  // [B, N]
                                                      float* matched_iou,   // [B, N]
                                                      int64_t* num_fg) {    // [B]
  for (int64_t b = blockIdx.y; b < m.B; b += gridDim.y) {
    for (int64_t first = blockIdx.x * int64_t{kThreads}; first < m.N; first += gridDim.x * int64_t{kThreads}) {
      const int64_t j = first + threadIdx.x, of_warp = first + threadIdx.x / 32 * 32;
      const int32_t taken = j < m.N ? m.owners[b * m.N + j] : kNobody;
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
  Tensor owners = torch::stable::new_empty(cost, {B, N}, ScalarType::Int);
  int32_t* owner = owners.mutable_data_ptr<int32_t>();
  int64_t* num_fg = matches.num_fg.mutable_data_ptr<int64_t>();
  device.launch(clear, blocks(B * N, kThreads), kThreads, owner, num_fg, B, N);
  dispatch_dtype(compute_dtype(iou), [&]<class T>() {
    const Matrices<T> matrices{.B = B,
                               .G = G,
                               .N = N,
                               .topk = topk,
                               .to_nearest = to_nearest,
                               .has_counts = num_gts.has_value(),
                               .costs = Reader<double>(cost),
                               .overlaps = Reader<T>(iou),
                               .num_gts = num_gts ? Reader<int64_t>(*num_gts) : Reader<int64_t>(),
                               .owners = owner};
    if (G > 0) device.launch(take_anchors<T>, dim3(blocks(G, 1), blocks(B, 1)), kThreads, matrices);
    device.launch(settle<T>, dim3(blocks(N, kThreads), blocks(B, 1)), kThreads, matrices,
                  matches.matched_gt.mutable_data_ptr<int64_t>(), matches.matched_iou.mutable_data_ptr<float>(),
                  num_fg);
  });
  return matches.tensors();
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("dynamic_k_match", TORCH_BOX(&yolox_ops::dynamic_k_match)); }
