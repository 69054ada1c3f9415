// The expensive loops of Sinkhorn's iteration: along a row, or down a tile of columns.
#pragma once

#include <algorithm>
#include <limits>

#include "core/simd.h"
#include "transport/sinkhorn.h"

namespace yolox_ops {
namespace {

// Sums of a row that run side by side.
constexpr int64_t kLanes = 16;

// low[j] = the smaller of it and of what cost[j] / epsilon exceeds `potential` by.
template <class T>
YOLOX_OPS_INLINE void lower_columns(int64_t n,
                                    const T* __restrict cost,  // [n]
                                    double potential, double per_epsilon,
                                    double* __restrict low) {  // [n]
  for (int64_t j = 0; j < n; ++j) {
    const double above = scale_cost(cost[j], per_epsilon) - potential;
    low[j] = above < low[j] ? above : low[j];
  }
}
YOLOX_OPS_SIMD_LOOP(void, lower_columns, (int64_t n, const T* cost, double potential, double per_epsilon, double* low),
                    (n, cost, potential, per_epsilon, low));

// The least of cost[j] / epsilon - potential[j].
template <class T>
YOLOX_OPS_INLINE double find_lowest(int64_t n,
                                    const T* __restrict cost,            // [n]
                                    const double* __restrict potential,  // [n]
                                    double per_epsilon) {
  double low[kLanes];
  std::fill_n(low, kLanes, std::numeric_limits<double>::infinity());
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double above = scale_cost(cost[j + lane], per_epsilon) - potential[j + lane];
      low[lane] = above < low[lane] ? above : low[lane];
    }
  }
  for (; j < n; ++j) low[0] = std::min(low[0], scale_cost(cost[j], per_epsilon) - potential[j]);
  return *std::min_element(low, low + kLanes);
}
YOLOX_OPS_SIMD_LOOP(double, find_lowest, (int64_t n, const T* cost, const double* potential, double per_epsilon),
                    (n, cost, potential, per_epsilon));

// The entries of a row of potential x.
template <class T>
YOLOX_OPS_INLINE void fill_entries(int64_t n,
                                   const T* __restrict cost,  // [n]
                                   double x,
                                   const double* __restrict y,  // [n]
                                   double per_epsilon,
                                   T* __restrict entries) {  // [n]
  for (int64_t j = 0; j < n; ++j) entries[j] = entry(x + y[j], cost[j], per_epsilon);
}
YOLOX_OPS_SIMD_LOOP(void, fill_entries,
                    (int64_t n, const T* cost, double x, const double* y, double per_epsilon, T* entries),
                    (n, cost, x, y, per_epsilon, entries));

// For a tile of n columns of which `columns` holds what sparse rows put there, unless `keep`: sets their factors; then
// adds what each of `rows` dense rows holds in the tile, but for its own factor, to sums.
template <class T>
YOLOX_OPS_INLINE void sweep_tile(int64_t rows, int64_t row_stride, int64_t n,
                                 const T* __restrict entries,      // [rows, n] by row_stride
                                 const T* __restrict row_factors,  // [rows]
                                 const T* __restrict demand,       // [n]
                                 bool keep,
                                 T* __restrict columns,      // [n]
                                 double* __restrict sums) {  // [rows]
  if (!keep) {
    for (int64_t i = 0; i < rows; ++i) {
      const T f = row_factors[i];
      for (int64_t j = 0; j < n; ++j) columns[j] += f * entries[i * row_stride + j];
    }
    for (int64_t j = 0; j < n; ++j) columns[j] = ratio_or_zero(demand[j], columns[j]);
  }
  for (int64_t i = 0; i < rows; ++i) {
    const T* __restrict row = entries + i * row_stride;
    T lanes[kLanes] = {};
    int64_t j = 0;
    for (; j + kLanes <= n; j += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += row[j + lane] * columns[j + lane];
    }
    for (; j < n; ++j) lanes[j % kLanes] += row[j] * columns[j];
    T sum = T(0);
    for (int64_t lane = 0; lane < kLanes; ++lane) sum += lanes[lane];
    sums[i] += static_cast<double>(sum);
  }
}
YOLOX_OPS_SIMD_LOOP(void, sweep_tile,
                    (int64_t rows, int64_t row_stride, int64_t n, const T* entries, const T* row_factors,
                     const T* demand, bool keep, T* columns, double* sums),
                    (rows, row_stride, n, entries, row_factors, demand, keep, columns, sums));

// What a row of n pairs holds, but for its own factor. Plain code: gathers into a vector take longer than the four
// sums.
template <class T>
T sum_gathered(int64_t n,
               const T* entries,       // [n]
               const int32_t* column,  // [n]
               const T* factors) {     // [columns]
  T lanes[4] = {};
  int64_t p = 0;
  for (; p + 4 <= n; p += 4) {
    for (int64_t lane = 0; lane < 4; ++lane) lanes[lane] += entries[p + lane] * factors[column[p + lane]];
  }
  for (; p < n; ++p) lanes[0] += entries[p] * factors[column[p]];
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

constexpr double kWindow = 1e7;

// Whether a factor leaves [1 / kWindow, kWindow]; 0 does not, it stays what it is.
template <class T>
YOLOX_OPS_INLINE bool window_left(int64_t n,
                                  const T* __restrict factors) {  // [n]
  int left = 0;
  for (int64_t i = 0; i < n; ++i) {
    const T f = factors[i];
    left |= (f > T(kWindow)) | ((f < T(1 / kWindow)) & (f > T(0)));
  }
  return left;
}
YOLOX_OPS_SIMD_LOOP(bool, window_left, (int64_t n, const T* factors), (n, factors));

}  // namespace
}  // namespace yolox_ops
