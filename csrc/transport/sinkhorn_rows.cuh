// What a block does for rows: their potentials, and the plan.
#pragma once

#include "transport/sinkhorn_problem.cuh"

namespace yolox_ops {
namespace {

// Threads to a row, to add what tiles hold of it.
constexpr int kSlices = 4;
static_assert(kGroup * kSlices <= kThreads);

// The potentials with which a group of rows begins iteration t, for they hold their supply with them. Returns whether
// all of these held it before. Every thread must call it.
template <class T, bool wide>
__device__ __forceinline__ bool advance_rows(const Transport<T, wide>& p, int64_t b, int first, int64_t t, bool stores,
                                             Potential<T>* x) {  // [kGroup], shared
  const int row = threadIdx.x / kSlices, slice = threadIdx.x % kSlices;
  const int i = first + row;
  const bool is_there = row < kGroup && i < p.M;
  T held = T(0);
  if (is_there) {
    const T* parts = p.parts_of(t - 1, b, i);
    for (int tile = slice; tile < p.tiles; tile += kSlices) held += parts[tile];
  }
  for (int step = kSlices / 2; step > 0; step /= 2) held += __shfl_xor_sync(kAllLanes, held, step);
  bool is_settled = true;
  if (is_there && slice == 0) {
    const T supply = read_mass<T>(p.supply.at(b, i));
    is_settled = settled(held, supply, p.tolerance);
    x[row] = hold(p.x_of(t - 1, b)[i], supply, held);
    if (stores) p.x_of(t, b)[i] = x[row];
  }
  return __syncthreads_and(is_settled);
}

// The same of all rows of an image, the last group of which stays in x. Returns whether it takes part in iteration t.
template <class T, bool wide>
__device__ __forceinline__ bool advance_image(const Transport<T, wide>& p, int64_t b, int64_t t, bool stores,
                                              Potential<T>* x) {  // [kGroup], shared
  const int64_t before = p.tolerance > 0 ? p.ended_by(t - 1, b) : 0;
  bool ends = p.tolerance > 0;
  for (int first = 0; first < p.M && before == 0; first += kGroup) {
    ends &= advance_rows(p, b, first, t, stores, x);
  }
  if (stores && threadIdx.x == 0) p.ended_by(t, b) = before > 0 ? before : ends ? t : 0;
  return before == 0 && !ends;
}

// More rows than a group between two iterations, and any after the last: a block to an image.
template <class T, bool wide>
__global__ void __launch_bounds__(kThreads, 4) set_rows(Transport<T, wide> p, int64_t t) {
  __shared__ Potential<T> x[kGroup];
  for (int64_t b = blockIdx.x; b < p.B; b += gridDim.x) advance_image(p, b, t, true, x);
}

// Calls visit(y, cost) for the pairs of a row that have mass, of those that this thread has.
template <class T, bool wide, class Visit>
__device__ __forceinline__ void each_pair(const Transport<T, wide>& p, int64_t b, int i, const Visit& visit) {
  for (int j = threadIdx.x * kWide<T>; j < p.N; j += kThreads * kWide<T>) {
    const Several<T> costs = p.costs.at(b, i, j);
    Potential<T> y[kWide<T>];
    p.read_columns(b, j, y);
    for (int c = 0; c < kWide<T>; ++c) {
      if ((wide || j + c < p.N) && p.scale.has_mass(costs.of[c])) visit(y[c], costs.of[c]);
    }
  }
}

// The first potentials of rows, a block to each: its largest entry becomes about 1, then it holds its supply.
template <class T, bool wide>
__global__ void __launch_bounds__(kThreads, 4) begin_rows(Transport<T, wide> p) {
  constexpr T kNone = -std::numeric_limits<T>::infinity(), kExact = T(1 << 20);
  for (int64_t b = blockIdx.y; b < p.B; b += gridDim.y) {
    if (blockIdx.x == 0 && threadIdx.x == 0) p.ended_by(1, b) = 0;
    for (int i = blockIdx.x; i < p.M; i += gridDim.x) {
      Potential<T> x{};
      T largest;
      do {  // once more where it was so large that it rounded much
        largest = kNone;
        each_pair(p, b, i, [&](Potential<T> y, T cost) { largest = larger(largest, p.scale.exponent(x, y, cost)); });
        largest = block_reduce<kThreads>(largest, [](T a, T b) { return larger(a, b); });
        if (largest > kNone) x = raise(x, -largest);
      } while (largest > kNone && ::fabs(largest) > kExact);
      T held = T(0);
      each_pair(p, b, i, [&](Potential<T> y, T cost) { held += power_of_2(p.scale.exponent(x, y, cost)); });
      held = block_reduce<kThreads>(held, std::plus<>());
      if (threadIdx.x == 0) p.x_of(1, b)[i] = hold(x, read_mass<T>(p.supply.at(b, i)), held);
    }
  }
}

// A block to a row.
template <class T, bool wide>
__global__ void __launch_bounds__(kThreads, 16 / sizeof(T)) write_plan(Transport<T, wide> p, int64_t iterations,
                                                                       T* plan) {  // [B, M, N]
  for (int64_t b = blockIdx.y; b < p.B; b += gridDim.y) {
    const int64_t ended = p.tolerance > 0 ? p.ended_by(iterations, b) : 0;
    for (int i = blockIdx.x; i < p.M; i += gridDim.x) {
      const Potential<T> x = p.x_of(ended > 0 ? ended : iterations, b)[i];
      T* row = plan + (b * p.M + i) * int64_t{p.N};
      for (int j = threadIdx.x * kWide<T>; j < p.N; j += kThreads * kWide<T>) {
        Several<T> entries = p.costs.at(b, i, j);
        Potential<T> y[kWide<T>];
        p.read_columns(b, j, y);
        for (int c = 0; c < kWide<T>; ++c) entries.of[c] = p.scale.entry(x, y[c], entries.of[c]);
        if constexpr (wide) {
          *reinterpret_cast<Several<T>*>(row + j) = entries;
        } else {
          for (int c = 0; c < kWide<T> && j + c < p.N; ++c) row[j + c] = entries.of[c];
        }
      }
    }
  }
}

}  // namespace
}  // namespace yolox_ops
