#include "core/memory.h"
#include "core/parallel.h"
#include "core/reader.h"
#include "transport/sinkhorn_factors.h"

namespace yolox_ops {
namespace {

// Supplies or demands, each with what is added to it.
template <class T>
std::vector<T> read_masses(const Tensor& tensor,  // [B, M]
                           const char* name) {
  const int64_t n = tensor.size(1);
  const Reader<double> masses(tensor);
  std::vector<T> all(tensor.size(0) * n);
  for (size_t i = 0; i < all.size(); ++i) {
    const int64_t b = static_cast<int64_t>(i) / n, row = static_cast<int64_t>(i) % n;
    const double mass = masses.at(b, row);
    check(is_mass(mass), name, " must be in [0, 1e12], got ", mass, " at image ", b, ", row ", row);
    all[i] = static_cast<T>(mass + kTinyMass);
  }
  return all;
}

// One thread's problem, and copies of rows that do not lie as they are read.
template <class T>
struct Workspace {
  Transport<T> transport;
  std::vector<std::vector<T>> copies;
};

template <class T>
void solve(const Tensor& cost,    // [B, M, N]
           const Tensor& supply,  // [B, M]
           const Tensor& demand,  // [B, N]
           const SinkhornRule& rule,
           Tensor& plan) {  // [B, M, N]
  const int64_t B = cost.size(0), M = cost.size(1), N = cost.size(2);
  const std::vector<T> supplies = read_masses<T>(supply, "supply"), demands = read_masses<T>(demand, "demand");
  const Reader<T> costs(cost);
  T* out = plan.mutable_data_ptr<T>();
  parallel_items<Workspace<T>>(B, [&](Workspace<T>& work, int64_t b) {
    Transport<T>& transport = work.transport;
    work.copies.resize(M);
    transport.dense = M;
    transport.columns = N;
    transport.entries = out + b * M * N;
    transport.dense_cost.resize(M);
    for (int64_t i = 0; i < M; ++i) transport.dense_cost[i] = costs.read_row(b, i, N, work.copies[i]);
    transport.supply.assign(supplies.begin() + b * M, supplies.begin() + (b + 1) * M);
    transport.demand.assign(demands.begin() + b * N, demands.begin() + (b + 1) * N);
    transport.x.assign(M, 0.0);
    transport.solve(rule);
    for (int64_t i = 0; i < M; ++i) {
      T* row = transport.entries + i * N;
      for (int64_t j = 0; j < N; ++j) row[j] = (transport.row_factors[i] * row[j]) * transport.column_factors[j];
    }
  });
}

Tensor sinkhorn(const Tensor& cost,    // [B, M, N]
                const Tensor& supply,  // [B, M]
                const Tensor& demand,  // [B, N]
                double epsilon, int64_t iterations, double tolerance) {
  check_transport(cost, supply, demand);
  const SinkhornRule rule = parse_sinkhorn(epsilon, iterations, tolerance);
  const ScalarType dtype = compute_dtype(cost);
  Tensor plan = torch::stable::new_empty(cost, {cost.size(0), cost.size(1), cost.size(2)}, dtype);
  prefer_huge_pages(plan);
  dispatch_dtype(dtype, [&]<class T>() { solve<T>(cost, supply, demand, rule, plan); });
  return plan;
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_FRAGMENT(yolox_ops, m) {
  m.def(
      "sinkhorn(Tensor cost, Tensor supply, Tensor demand, float epsilon, int iterations, float tolerance) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) { m.impl("sinkhorn", TORCH_BOX(&yolox_ops::sinkhorn)); }
