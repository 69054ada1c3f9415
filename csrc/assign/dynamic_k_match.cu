#include "assign/select.cuh"
#include "assign/tensors.h"
#include "core/reader.h"
#include "core/shortlist.cuh"

namespace yolox_ops {
namespace {

constexpr int kThreads = 256;
// Overlaps, and pairs, that a block keeps in shared memory; what exceeds that is read anew in every round.
constexpr int kKept = 1024;

struct Pair {
  double cost;
  int64_t anchor;
};

template <class T>
struct Matrices {
  int64_t B, G, N, topk;
  bool to_nearest;
  Reader<double> costs;
  Reader<T> overlaps;
  Reader<int64_t> num_gts;
  bool has_counts;
  int32_t* owners;  // [B, N]

  __device__ int64_t gts(int64_t b) const { return has_counts ? min(max(num_gts.at(b), int64_t{0}), G) : G; }
};

__global__ void clear(int32_t* owners, int64_t* num_fg, int64_t B, int64_t N) {
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < B * N; i += gridDim.x * int64_t{kThreads}) {
    owners[i] = kNobody;
    if (i < B) num_fg[i] = 0;
  }
}

// A block finds dynamic k of one ground truth and takes its k anchors.
template <class T>
__global__ void __launch_bounds__(kThreads, 2) take_anchors(Matrices<T> m) {
  __shared__ Shortlist<T, kKept> overlaps;
  __shared__ Shortlist<Pair, kKept> pairs;
  for (int64_t b = blockIdx.y; b < m.B; b += gridDim.y) {
    const int64_t gts = m.gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      const auto each_anchor = [&](const auto& visit) {
        for (int64_t j = threadIdx.x; j < m.N; j += kThreads) visit(j);
      };
      __syncthreads();
      if (threadIdx.x == 0) overlaps.count = pairs.count = 0;
      __syncthreads();
      each_anchor([&](int64_t j) {
        const T overlap = m.overlaps.at(b, g, j);
        const double cost = m.costs.at(b, g, j);
        if (overlap > T(0)) overlaps.push(overlap);
        if (Preference(cost, j).rank < 2) pairs.push({cost, j});
      });
      __syncthreads();

      const T sum =
          overlaps.complete()
              ? sum_largest_by_block<kThreads, T>([&](const auto& visit) { overlaps.each(visit); }, m.topk)
              : sum_largest_by_block<kThreads, T>(
                    [&](const auto& visit) { each_anchor([&](int64_t j) { visit(m.overlaps.at(b, g, j)); }); }, m.topk);
      const int64_t k = dynamic_k(sum, pairs.count, m.to_nearest);
      const auto take = [&](int64_t j) { take_anchor(m.owners + b * m.N + j, g); };
      if (pairs.complete()) {
        const auto each = [&](const auto& visit) {
          pairs.each([&](const Pair& pair) { visit(Preference(pair.cost, pair.anchor)); });
        };
        take_preferred<kThreads>(each, k, take);
      } else {
        const auto each = [&](const auto& visit) {
          each_anchor([&](int64_t j) { visit(Preference(m.costs.at(b, g, j), j)); });
        };
        take_preferred<kThreads>(each, k, take);
      }
    }
  }
}

// Settles conflicts, a warp to each, and writes what every anchor matches.
template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    settle(Matrices<T> m, int64_t* matched_gt, float* matched_iou, int64_t* num_fg) {
  for (int64_t b = blockIdx.y; b < m.B; b += gridDim.y) {
    for (int64_t first = blockIdx.x * int64_t{kThreads}; first < m.N; first += gridDim.x * int64_t{kThreads}) {
      const int64_t j = first + threadIdx.x;
      int32_t owner = j < m.N ? m.owners[b * m.N + j] : kNobody;
      for (uint32_t open = __ballot_sync(kAllLanes, owner == kSeveral); open; open &= open - 1) {
        const int lane = __ffs(open) - 1;
        const int64_t disputed = first + threadIdx.x / 32 * 32 + lane;
        Preference best(INFINITY, INT64_MAX);
        for (int64_t g = threadIdx.x % 32; g < m.gts(b); g += 32) {
          best = Best()(best, Preference(m.costs.at(b, g, disputed), g));
        }
        best = warp_reduce(best, Best());
        if (threadIdx.x % 32 == lane) owner = static_cast<int32_t>(best.index);
      }
      if (j < m.N) {
        const T overlap = owner == kNobody ? T(0) : m.overlaps.at(b, owner, j);
        matched_gt[b * m.N + j] = owner;
        matched_iou[b * m.N + j] = overlap == overlap ? static_cast<float>(overlap) : 0.0f;
      }
      const int found = __syncthreads_count(owner != kNobody);
      if (threadIdx.x == 0 && found > 0) {
        atomicAdd(reinterpret_cast<unsigned long long*>(num_fg + b), static_cast<unsigned long long>(found));
      }
    }
  }
}

std::tuple<Tensor, Tensor, Tensor> dynamic_k_match(const Tensor& cost, const Tensor& iou,
                                                   const std::optional<Tensor>& num_gts, int64_t topk,
                                                   std::string k_rounding) {
  const Device device(cost);
  check_match(cost, iou, num_gts, topk);
  const bool to_nearest = parse_rounding(k_rounding);
  const int64_t B = cost.size(0), G = cost.size(1), N = cost.size(2);
  Tensor matched_gt = torch::stable::new_empty(cost, {B, N}, ScalarType::Long);
  Tensor matched_iou = torch::stable::new_empty(cost, {B, N}, ScalarType::Float);
  Tensor num_fg = torch::stable::new_empty(cost, {B}, ScalarType::Long);
  if (B * N == 0) {
    torch::stable::zero_(num_fg);
    return {matched_gt, matched_iou, num_fg};
  }
  Tensor owners = torch::stable::new_empty(cost, {B, N}, ScalarType::Int);
  int32_t* owner = owners.mutable_data_ptr<int32_t>();
  int64_t* totals = num_fg.mutable_data_ptr<int64_t>();
  device.launch(clear, blocks(B * N, kThreads), kThreads, owner, totals, B, N);
  dispatch_dtype(is_float64(iou) ? ScalarType::Double : ScalarType::Float, [&]<class T>() {
    const Matrices<T> matrices{B,
                               G,
                               N,
                               topk,
                               to_nearest,
                               Reader<double>(cost),
                               Reader<T>(iou),
                               num_gts ? Reader<int64_t>(*num_gts) : Reader<int64_t>(),
                               num_gts.has_value(),
                               owner};
    if (G > 0) device.launch(take_anchors<T>, dim3(blocks(G, 1), blocks(B, 1)), kThreads, matrices);
    device.launch(settle<T>, dim3(blocks(N, kThreads), blocks(B, 1)), kThreads, matrices,
                  matched_gt.mutable_data_ptr<int64_t>(), matched_iou.mutable_data_ptr<float>(), totals);
  });
  return {matched_gt, matched_iou, num_fg};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("dynamic_k_match", TORCH_BOX(&yolox_ops::dynamic_k_match)); }
