// What a block does for some columns in an iteration: their factors and potentials, and what they then hold of each
// row.
#pragma once

#include "transport/sinkhorn_rows.cuh"

namespace yolox_ops {
namespace {

template <class T>
struct SweepShared {
  Potential<T> x[kGroup];
  Several<T> parts[kWarps][32];  // of what columns hold, by warps
  Several<T> factors[32];        // of columns
};

// A block's work on kColumns of image b.
template <class T, bool wide>
struct Sweep {
  const Transport<T, wide>& p;
  SweepShared<T>& shared;
  int64_t b;
  int first_column;
  int column =
      min(first_column + static_cast<int>(threadIdx.x % 32) * kWide<T>, p.costs.last());  // the first of this thread

  // Calls visit(k, row) for the rows of a group that this warp has.
  template <class Visit>
  __device__ __forceinline__ void each_row(int first, const Visit& visit) const {
    const int warp = threadIdx.x / 32, rows = min(p.M - first, kGroup);
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      if (k * kWarps < rows - warp) visit(k, k * kWarps + warp);
    }
  }

  __device__ __forceinline__ void read_costs(int first, Several<T> (&costs)[kHeld]) const {
    const int warp = threadIdx.x / 32, rows = min(p.M - first, kGroup);
    p.costs.read(b, first + warp, rows - warp, column, costs);
  }

  // Turns costs into entries, and adds them to what columns hold.
  __device__ __forceinline__ void make_entries(int first, const Potential<T> (&y)[kWide<T>],
                                               Several<T> (&entries)[kHeld], Several<T>& held) const {
    each_row(first, [&](int k, int row) {
      const Potential<T> x = shared.x[row];
      for (int c = 0; c < kWide<T>; ++c) {
        entries[k].of[c] = p.scale.entry(x, y[c], entries[k].of[c]);
        held.of[c] += entries[k].of[c];
      }
    });
  }

  // Adds what this thread holds of the rows of a group.
  __device__ __forceinline__ void add_rows(int first, const Several<T> (&entries)[kHeld], T (&held)[kHeld]) const {
    const Several<T> factors = shared.factors[threadIdx.x % 32];
    each_row(first, [&](int k, int) {
      for (int c = 0; c < kWide<T>; ++c) held[k] = ::fma(entries[k].of[c], factors.of[c], held[k]);
    });
  }

  // Stores what the warp holds of the rows of a group, or adds it.
  __device__ __forceinline__ void store_rows(int first, int64_t t, int tile, bool adds, T (&held)[kHeld]) const {
    constexpr int kMany = std::bit_ceil(unsigned{kHeld}), kCopies = 32 / kMany;
    T of_rows[kMany] = {};
    for (int k = 0; k < kHeld; ++k) of_rows[k] = held[k];
    const T of_row = warp_sums(of_rows);
    const int lane = threadIdx.x % 32, row = lane / kCopies * kWarps + threadIdx.x / 32;
    const int i = first + row;
    if (lane % kCopies == 0 && row < kGroup && i < p.M) {
      T& part = p.parts_of(t, b, i)[tile];
      part = adds ? part + of_row : of_row;
    }
  }

  // A thread to a column that exists: calls set(column, place, what all warps' values come to).
  template <class Combine, class Set>
  __device__ __forceinline__ void each_column(const Several<T>& value, const Combine& combine, const Set& set) const {
    shared.parts[threadIdx.x / 32][threadIdx.x % 32] = value;
    __syncthreads();
    const int lane = threadIdx.x / kWide<T>, c = threadIdx.x % kWide<T>;
    if (lane < 32) {
      T all = shared.parts[0][lane].of[c];
      for (int warp = 1; warp < kWarps; ++warp) all = combine(all, shared.parts[warp][lane].of[c]);
      shared.factors[lane].of[c] = T(0);
      const int j = first_column + threadIdx.x;
      if (j < p.N) set(b * p.N + j, shared.factors[lane].of[c], all);
    }
    __syncthreads();
  }

  // A column carries its demand: its potential, and its factor until that is seen.
  __device__ __forceinline__ void set_columns(const Several<T>& held) const {
    each_column(held, std::plus<>(), [&](int64_t j, T& factor, T all) {
      factor = ratio_or_zero(p.demands[j], all);
      if (factor > T(0)) p.y[j] = raise(p.y[j], log_of_2(factor));
    });
  }

  // The potentials with which the largest entry of each column is 1, where rows have potential 0.
  __device__ __forceinline__ void begin_columns() const {
    Several<T> least;
    for (T& cost : least.of) cost = std::numeric_limits<T>::infinity();
    for (int first = 0; first < p.M; first += kGroup) {
      Several<T> costs[kHeld];
      read_costs(first, costs);
      each_row(first, [&](int k, int) {
        for (int c = 0; c < kWide<T>; ++c) {
          if (p.scale.has_mass(costs[k].of[c])) least.of[c] = smaller(least.of[c], costs[k].of[c]);
        }
      });
    }
    each_column(
        least, [](T a, T b) { return smaller(a, b); },
        [&](int64_t j, T&, T cost) {
          p.y[j] = p.scale.has_mass(cost) ? p.scale.potential(cost) : Potential<T>{};
          p.demands[j] = read_mass<T>(p.demand.at(b, j - b * p.N));
        });
  }
};

}  // namespace
}  // namespace yolox_ops
