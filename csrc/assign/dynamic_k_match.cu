// dynamic_k_match in three launches: clear, take, and settle, in which a thread has an anchor and a warp searches all
// ground truths of one that several took. In take a block has a ground truth and each of its warps a stretch of
// anchors, of which it keeps the topk largest overlaps and the topk preferred costs (leaders.cuh); then every one of
// these counts those of all warps that precede it. A topk that a warp cannot hold goes by lists and rounds
// (select.cuh). Bound by memory: each element of a real row is read once.
#include "assign/counts.cuh"
#include "assign/leaders.cuh"
#include "assign/select.cuh"
#include "assign/tensors.h"
#include "core/reader.h"

namespace yolox_ops {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
// Overlaps, and pairs, that a block keeps in shared memory; what exceeds that is read anew in every round.
constexpr int kKept = 1024;
// Elements of a row that a thread reads at once.
constexpr int kReads = 4;

template <class T, class Costs = Reader<double>, class Overlaps = Reader<T>>
struct Matrices {
  int64_t B, G, N, topk;
  bool to_nearest, has_counts;
  Costs costs;              // [B, G, N]
  Overlaps overlaps;        // [B, G, N]
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
template <class T, class... Readers>
struct AllOverlaps {
  const Matrices<T, Readers...>& m;
  int64_t b, g;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    for (int64_t j = threadIdx.x; j < m.N; j += kThreads) visit(m.overlaps.at(b, g, j));
  }
};

// Its pairs with all anchors.
template <class T, class... Readers>
struct AllPairs {
  const Matrices<T, Readers...>& m;
  int64_t b, g;

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    for (int64_t j = threadIdx.x; j < m.N; j += kThreads) visit(Pair{m.costs.at(b, g, j), j});
  }
};

// Lists its overlaps, and the pairs that can match.
template <class T, class... Readers>
__device__ __forceinline__ void list_pairs(const Matrices<T, Readers...>& m, int64_t b, int64_t g,
                                           Shortlist<T, kKept>& overlaps, Shortlist<Pair, kKept>& pairs) {
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

// The same where a warp cannot hold topk: a block lists a row, and goes over the lists, or the row, in rounds.
template <class T, class... Readers>
__global__ void __launch_bounds__(kThreads, 2) take_by_rounds(Matrices<T, Readers...> m) {
  __shared__ Shortlist<T, kKept> overlaps;
  __shared__ Shortlist<Pair, kKept> pairs;
  for (int64_t b = blockIdx.y; b < m.B; b += gridDim.y) {
    const int64_t gts = m.count_gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      list_pairs(m, b, g, overlaps, pairs);
      const T sum = sum_largest_by_block<kThreads>(overlaps, AllOverlaps<T, Readers...>{m, b, g}, m.topk);
      const int64_t k = dynamic_k(sum, pairs.count, m.to_nearest);
      take_preferred<kThreads>(pairs, AllPairs<T, Readers...>{m, b, g}, k,
                               [&](int64_t anchor) { take_anchor(m.owners + b * m.N + anchor, g); });
    }
  }
}

template <class T>
using OverlapKey = decltype(descending_key(T()));

// Shows a warp its stretch of a row.
template <class T, class... Readers>
__device__ __forceinline__ void lead_stretch(const Matrices<T, Readers...>& m, int64_t b, int64_t g, int most,
                                             Leaders<OverlapKey<T>>& largest, Leaders<uint64_t>& preferred) {
  const int64_t lines = (m.N + 31) / 32, of_warp = (lines + kWarps - 1) / kWarps;
  const int64_t begin = threadIdx.x / 32 * of_warp, end = min(begin + of_warp, lines);
  for (int64_t line = begin; line < end; line += kReads) {
    double costs[kReads];
    T overlaps[kReads];
#pragma unroll
    for (int i = 0; i < kReads; ++i) {
      const int64_t anchor = (line + i) * 32 + threadIdx.x % 32;
      const bool exists = line + i < end && anchor < m.N;
      costs[i] = exists ? m.costs.at(b, g, anchor) : INFINITY;
      overlaps[i] = exists ? m.overlaps.at(b, g, anchor) : T(0);
    }
#pragma unroll
    for (int i = 0; i < kReads; ++i) {
      const int32_t first = static_cast<int32_t>((line + i) * 32);
      const bool meets = overlaps[i] > T(0), can_match = Preference(costs[i], 0).rank < 2;
      if (__any_sync(kAllLanes, meets)) {
        largest.show(meets ? descending_key(overlaps[i]) : largest.kNone, first, most);
      }
      if (__any_sync(kAllLanes, can_match)) {
        preferred.show(can_match ? ascending_key(costs[i]) : preferred.kNone, first, most);
      }
    }
  }
}

// How many of n keys precede number i; of equal ones those that come before it.
template <class Key>
__device__ __forceinline__ int count_before(const Key* keys,  // [n]
                                            int n, int i) {
  const Key key = keys[i];
  int before = 0;
#pragma unroll 4
  for (int j = 0; j < i; ++j) before += keys[j] <= key;
#pragma unroll 4
  for (int j = i + 1; j < n; ++j) before += keys[j] < key;
  return before;
}

// A block finds dynamic k of one ground truth and takes its k anchors.
template <class T, class... Readers>
__global__ void __launch_bounds__(kThreads, 4) take(Matrices<T, Readers...> m) {
  using Key = OverlapKey<T>;
  __shared__ Key overlap_keys[kWarps * kMostLeaders];
  __shared__ uint64_t cost_keys[kWarps * kMostLeaders];
  __shared__ int32_t anchors[kWarps * kMostLeaders];
  __shared__ T sorted[kMostLeaders];
  const int lane = threadIdx.x % 32, most = static_cast<int>(m.topk);
  const int i = threadIdx.x, n = kWarps * most, slot = threadIdx.x / 32 * most + lane;
  for (int64_t b = blockIdx.y; b < m.B; b += gridDim.y) {
    const int64_t gts = m.count_gts(b);
    for (int64_t g = blockIdx.x; g < gts; g += gridDim.x) {
      Leaders<Key> largest;
      Leaders<uint64_t> preferred;
      lead_stretch(m, b, g, most, largest, preferred);
      __syncthreads();  // until the keys before are read
      if (lane < most) {
        overlap_keys[slot] = largest.key;
        cost_keys[slot] = preferred.key;
        anchors[slot] = preferred.index;
      }
      __syncthreads();
      const int rank = i < n ? count_before(overlap_keys, n, i) : most;
      if (rank < most) sorted[rank] = overlap_keys[i] == largest.kNone ? T(0) : value_of(overlap_keys[i]);
      const bool is_pair = i < n && cost_keys[i] != preferred.kNone;
      const int before = is_pair ? count_before(cost_keys, n, i) : 0;
      __syncthreads();
      T sum = T(0);
      for (int r = 0; r < most; ++r) sum += sorted[r];
      if (is_pair && before < dynamic_k(sum, m.N, m.to_nearest)) take_anchor(m.owners + b * m.N + anchors[i], g);
    }
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
                                                .owners = owner};
    const auto taking = topk > kMostLeaders ? take_by_rounds<T, Costs, Overlaps> : take<T, Costs, Overlaps>;
    if (G > 0) device.launch(taking, dim3(blocks(G, 1), blocks(B, 1)), kThreads, matrices);
    device.launch(settle<T, Costs, Overlaps>, dim3(blocks(N, kThreads), blocks(B, 1)), kThreads, matrices,
                  matches.matched_gt.mutable_data_ptr<int64_t>(), matches.matched_iou.mutable_data_ptr<float>(),
                  num_fg);
  };
  if (cost.scalar_type() == ScalarType::Double && iou.scalar_type() == ScalarType::Float) {  // as simota_cost has them
    match.template operator()<float, TypedReader<double, double>, TypedReader<float, float>>();
  } else {
    dispatch_dtype(compute_dtype(iou), [&]<class T>() { match.template operator()<T, Reader<double>, Reader<T>>(); });
  }
  return matches.tensors();
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("dynamic_k_match", TORCH_BOX(&yolox_ops::dynamic_k_match)); }
