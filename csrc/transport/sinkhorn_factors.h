// Sinkhorn's iteration on one problem on the CPU. Some of its rows reach every column and some a few.
//
// plan_ij = row_i entry_ij column_j. An entry is exp(x_i + y_j - cost_ij / epsilon) with potentials x, y as they were
// when entries were last computed; in between an iteration is multiplications only: column_j makes column j carry its
// demand, row_i makes row i carry its supply. When a factor leaves [1 / kWindow, kWindow] all factors go into the
// potentials, and entries are computed anew. So nothing that has mass is ever out of a float's range, whatever the
// costs.
//
// Two steps begin: y_j = least of cost_ij / epsilon - x_i makes the largest entry of every column 1, for column
// factors; with those in y, x_i = least of cost_ij / epsilon - y_j does so for rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/parallel.h"
#include "transport/sinkhorn.h"
#include "transport/sinkhorn_loops.h"

namespace yolox_ops {
namespace {

// Columns whose factors are set, and multiplied into row sums, while they lie in the nearest cache.
constexpr int64_t kColumns = 256;
// Pairs of dense rows that are worth a thread of their own.
constexpr int64_t kPairGrain = 1 << 16;

// Rows are numbered densely first: `dense` that reach every column, then those that have pairs.
template <class T>
struct Transport {
  // The problem. dense_cost[i] and entries + i * columns hold a dense row; entries and pair_entries are written.
  int64_t dense = 0, columns = 0;
  std::vector<const T*> dense_cost;        // [dense], each [columns]
  T* entries = nullptr;                    // [dense, columns]
  std::vector<int64_t> begin;              // [sparse rows + 1], into pairs
  std::vector<int32_t> pair_column;        // [pairs]
  std::vector<T> pair_cost, pair_entries;  // [pairs]
  std::vector<T> supply;                   // [rows]
  std::vector<T> demand;                   // [columns]
  std::vector<double> x;  // potentials to begin with; 0 but for a dense row that costs so much more in every pair

  // Then plan = row factor * entry * column factor.
  std::vector<T> row_factors;     // [rows]
  std::vector<T> column_factors;  // [columns]

  int64_t rows() const { return static_cast<int64_t>(supply.size()); }

  void solve(const SinkhornRule& rule) {
    per_epsilon_ = 1 / rule.epsilon;
    row_factors.assign(rows(), T(1));
    column_factors.assign(columns, T(1));
    choose_columns();
    fill();
    sweep(false);
    fold();
    choose_rows();
    fill();
    sweep(true);
    set_rows(0);
    for (int64_t t = 1; t < rule.iterations; ++t) {
      if (window_left()) {
        fold();
        fill();
      }
      sweep(false);
      if (set_rows(rule.tolerance)) break;
    }
  }

 private:
  // Calls visit(row, pair) for all pairs of sparse rows.
  template <class Visit>
  void each_pair(const Visit& visit) const {
    for (int64_t i = dense; i < rows(); ++i) {
      for (int64_t p = begin[i - dense]; p < begin[i - dense + 1]; ++p) visit(i, p);
    }
  }

  void choose_columns() {
    y_.assign(columns, std::numeric_limits<double>::infinity());
    for (int64_t i = 0; i < dense; ++i) simd_lower_columns(columns, dense_cost[i], x[i], per_epsilon_, y_.data());
    each_pair([&](int64_t, int64_t p) {
      double& low = y_[pair_column[p]];
      low = std::min(low, scale_cost(pair_cost[p], per_epsilon_));
    });
  }

  void choose_rows() {
    std::fill(x.begin(), x.end(), std::numeric_limits<double>::infinity());
    for (int64_t i = 0; i < dense; ++i) x[i] = simd_find_lowest(columns, dense_cost[i], y_.data(), per_epsilon_);
    each_pair([&](int64_t i, int64_t p) {
      x[i] = std::min(x[i], scale_cost(pair_cost[p], per_epsilon_) - y_[pair_column[p]]);
    });
  }

  void fill() {
    parallel_for(0, dense, kPairGrain / std::max(int64_t{1}, columns) + 1, [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; ++i) {
        simd_fill_entries(columns, dense_cost[i], x[i], y_.data(), per_epsilon_, entries + i * columns);
      }
    });
    potentials_.resize(pair_column.size());
    pair_entries.resize(pair_column.size());
    each_pair([&](int64_t i, int64_t p) { potentials_[p] = x[i] + y_[pair_column[p]]; });
    simd_fill_entries(static_cast<int64_t>(pair_column.size()), pair_cost.data(), 0.0, potentials_.data(), per_epsilon_,
                      pair_entries.data());
  }

  // Sets the factors of columns, unless `keep`, and sums_.
  void sweep(bool keep) {
    sums_.assign(rows(), 0.0);
    if (!keep) {
      std::fill(column_factors.begin(), column_factors.end(), T(0));
      each_pair([&](int64_t i, int64_t p) { column_factors[pair_column[p]] += row_factors[i] * pair_entries[p]; });
    }
    const int64_t tiles = (columns + kColumns - 1) / kColumns;
    tile_sums_.assign(tiles * dense, 0.0);
    parallel_for(0, tiles, kPairGrain / (dense * kColumns + 1) + 1, [&](int64_t first_tile, int64_t end) {
      for (int64_t tile = first_tile; tile < end; ++tile) {
        const int64_t first = tile * kColumns;
        simd_sweep_tile(dense, columns, std::min(kColumns, columns - first), entries + first, row_factors.data(),
                        demand.data() + first, keep, column_factors.data() + first, tile_sums_.data() + tile * dense);
      }
    });
    for (int64_t tile = 0; tile < tiles; ++tile) {
      for (int64_t i = 0; i < dense; ++i) sums_[i] += tile_sums_[tile * dense + i];
    }
    for (int64_t i = dense; i < rows(); ++i) {
      const int64_t first = begin[i - dense], count = begin[i - dense + 1] - first;
      sums_[i] = sum_gathered(count, pair_entries.data() + first, pair_column.data() + first, column_factors.data());
    }
  }

  // Sets the factors of rows; whether all rows held what they should before.
  bool set_rows(double tolerance) {
    bool all = tolerance > 0;
    for (int64_t i = 0; i < rows(); ++i) {
      const T sum = static_cast<T>(sums_[i]);
      all &= settled(row_factors[i] * sum, supply[i], tolerance);
      row_factors[i] = ratio_or_zero(supply[i], sum);
    }
    return all;
  }

  bool window_left() const {
    return simd_window_left(rows(), row_factors.data()) || simd_window_left(columns, column_factors.data());
  }

  // Puts the factors into the potentials. Those of a row or column without a finite cost are no numbers then, and go
  // nowhere: its entries stay 0.
  void fold() {
    fold_into(x, row_factors);
    fold_into(y_, column_factors);
  }

  static void fold_into(std::vector<double>& potentials, std::vector<T>& factors) {
    for (size_t i = 0; i < factors.size(); ++i) {
      potentials[i] += std::log(static_cast<double>(factors[i]));
      factors[i] = T(1);
    }
  }

  double per_epsilon_ = 1;
  std::vector<double> y_;           // [columns], potentials
  std::vector<double> sums_;        // [rows], what rows hold but for their own factors
  std::vector<double> tile_sums_;   // [tiles, dense]
  std::vector<double> potentials_;  // [pairs], of row and column
};

}  // namespace
}  // namespace yolox_ops
