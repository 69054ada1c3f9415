#include "core/reader.h"
#include "transport/log_sum.cuh"

namespace yolox_ops {
namespace {

// Threads to a row, and to a short one.
constexpr int kThreads = 128;
constexpr int kFew = 32;
constexpr int64_t kShort = 256;
// Columns to a block; each has a thread in every warp, which takes every kWarps-th row.
constexpr int kColumns = 32;
constexpr int kWarps = 8;

template <class T>
struct Transport {
  int64_t B, M, N;
  Reader<T> costs;        // [B, M, N]
  Reader<double> supply;  // [B, M]
  Reader<double> demand;  // [B, N]
  double per_epsilon, tolerance;
  // The workspace. Potentials are over epsilon.
  double* x;                      // [B, M], potentials of rows
  double* y;                      // [B, N], potentials of columns
  unsigned long long* unsettled;  // [2, B], the last even and the last odd iteration in which a row was not settled

  __device__ unsigned long long* unsettled_in(int64_t b, int64_t t) const { return unsettled + t % 2 * B + b; }

  // Whether image b takes part in iteration t: in the one before, a row was not settled.
  __device__ bool takes_part(int64_t b, int64_t t) const {
    return tolerance == 0 || t < 2 || *unsettled_in(b, t - 1) + 1 == t;
  }

  __device__ __forceinline__ double scaled(T cost) const { return scale_cost(cost, per_epsilon); }
};

// A block gives some columns the potentials with which they carry their demand. Iteration t begins with it.
template <class T>
__global__ void __launch_bounds__(kColumns* kWarps, 4) set_columns(Transport<T> p, int64_t t) {
  __shared__ LogSum<T> parts[kWarps][kColumns];
  const int warp = threadIdx.x / kColumns, lane = threadIdx.x % kColumns;
  for (int64_t b = blockIdx.y; b < p.B; b += gridDim.y) {
    if (!p.takes_part(b, t)) continue;
    if (t == 0 && blockIdx.x == 0 && threadIdx.x < 2) *p.unsettled_in(b, threadIdx.x) = 0;
    for (int64_t first = blockIdx.x * int64_t{kColumns}; first < p.N; first += gridDim.x * int64_t{kColumns}) {
      const int64_t j = first + lane;
      auto reached = LogSum<T>::of_none();
      for (int64_t i = warp; i < p.M && j < p.N; i += kWarps) {
        const T cost = p.costs.at(b, i, j);
        if (is_finite(cost)) reached.add((t > 0 ? p.x[b * p.M + i] : 0.0) - p.scaled(cost));
      }
      __syncthreads();  // until the columns before are read
      parts[warp][lane] = reached;
      __syncthreads();
      if (warp == 0 && j < p.N) {
        for (int w = 1; w < kWarps; ++w) reached.add(parts[w][lane]);
        p.y[b * p.N + j] = potential(reached, log_mass(p.demand.at(b, j)));
      }
    }
  }
}

// A block gives a row the potential with which it carries its supply.
template <class T, int threads>
__global__ void __launch_bounds__(threads, 8) set_rows(Transport<T> p, int64_t t) {
  for (int64_t b = blockIdx.y; b < p.B; b += gridDim.y) {
    if (!p.takes_part(b, t)) continue;
    for (int64_t i = blockIdx.x; i < p.M; i += gridDim.x) {
      auto reached = LogSum<T>::of_none();
      for (int64_t j = threadIdx.x; j < p.N; j += threads) {
        const T cost = p.costs.at(b, i, j);
        if (is_finite(cost)) reached.add(p.y[b * p.N + j] - p.scaled(cost));
      }
      reached = block_reduce<threads>(reached, AddLogSums());
      if (threadIdx.x == 0) {
        double& x = p.x[b * p.M + i];
        const double supply = log_mass(p.supply.at(b, i));
        if (p.tolerance > 0 && t > 0 && !holds_mass(reached, x, supply, p.tolerance)) {
          atomicExch(p.unsettled_in(b, t), static_cast<unsigned long long>(t));
        }
        x = potential(reached, supply);
      }
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 8) write_plan(Transport<T> p,
                                                          T* plan) {  // [B, M, N]
  for (int64_t b = blockIdx.y; b < p.B; b += gridDim.y) {
    for (int64_t i = blockIdx.x; i < p.M; i += gridDim.x) {
      const double x = p.x[b * p.M + i];
      for (int64_t j = threadIdx.x; j < p.N; j += kThreads) {
        plan[(b * p.M + i) * p.N + j] = entry(x + p.y[b * p.N + j], p.costs.at(b, i, j), p.per_epsilon);
      }
    }
  }
}

Tensor sinkhorn(const Tensor& cost,    // [B, M, N]
                const Tensor& supply,  // [B, M]
                const Tensor& demand,  // [B, N]
                double epsilon, int64_t iterations, double tolerance) {
  const Device device(cost);
  check_transport(cost, supply, demand);
  const SinkhornRule rule = parse_sinkhorn(epsilon, iterations, tolerance);
  const int64_t B = cost.size(0), M = cost.size(1), N = cost.size(2);
  const ScalarType dtype = compute_dtype(cost);
  Tensor plan = torch::stable::new_empty(cost, {B, M, N}, dtype);
  if (B * M * N == 0) return plan;
  const auto doubles = [&](int64_t n) { return torch::stable::new_empty(cost, {B, n}, ScalarType::Double); };
  Tensor x = doubles(M), y = doubles(N), flags = torch::stable::new_empty(cost, {2, B}, ScalarType::Long);
  auto* unsettled = reinterpret_cast<unsigned long long*>(flags.mutable_data_ptr<int64_t>());
  dispatch_dtype(dtype, [&]<class T>() {
    const Transport<T> problem{.B = B,
                               .M = M,
                               .N = N,
                               .costs = Reader<T>(cost),
                               .supply = Reader<double>(supply),
                               .demand = Reader<double>(demand),
                               .per_epsilon = 1 / rule.epsilon,
                               .tolerance = rule.tolerance,
                               .x = x.mutable_data_ptr<double>(),
                               .y = y.mutable_data_ptr<double>(),
                               .unsettled = unsettled};
    const dim3 columns(blocks(N, kColumns), blocks(B, 1)), rows(blocks(M, 1), blocks(B, 1));
    for (int64_t t = 0; t < rule.iterations; ++t) {
      device.launch(set_columns<T>, columns, kColumns * kWarps, problem, t);
      if (N <= kShort) {
        device.launch(set_rows<T, kFew>, rows, kFew, problem, t);
      } else {
        device.launch(set_rows<T, kThreads>, rows, kThreads, problem, t);
      }
    }
    device.launch(write_plan<T>, rows, kThreads, problem, plan.mutable_data_ptr<T>());
  });
  return plan;
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("sinkhorn", TORCH_BOX(&yolox_ops::sinkhorn)); }
