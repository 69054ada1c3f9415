// What dynamic_k_match's kernels read and write.
#pragma once

#include "assign/counts.cuh"
#include "assign/owners.cuh"

namespace yolox_ops {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

template <class T, class Costs = Reader<double>, class Overlaps = Reader<T>>
struct Matrices {
  static constexpr bool kDense = std::is_same_v<Costs, DenseReader<double>>;

  int64_t B, G, N, topk;
  bool to_nearest, has_counts;
  Costs costs;              // [B, G, N]
  Overlaps overlaps;        // [B, G, N]
  Reader<int64_t> num_gts;  // [B]
  Takers* takers;           // [B, N]

  __device__ int64_t count_gts(int64_t b) const { return has_counts ? read_count(num_gts, b, G) : G; }
};

}  // namespace
}  // namespace yolox_ops
