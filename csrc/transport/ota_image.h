// One image of a batch for ota: sets up its transport problem, solves it, and reads the matches off the plan.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "assign/batch.h"
#include "assign/matches.h"
#include "transport/ota_pairs.h"
#include "transport/sinkhorn_factors.h"

namespace yolox_ops {
namespace {

// Ground truths with a pair that has mass in their own region are the sparse rows of the problem; the dense ones are
// the background and, after it, those that have none, which look at all anchors.
template <class T>
class OtaImage {
 public:
  // Reuses the memory of the image before.
  void prepare(const Batch<T>& batch, const OtaRule& rule, int64_t b) {
    N_ = batch.N;
    rule_ = &rule;
    pairs_.find(batch, rule, b);
    fill_sparse_rows();
    find_columns();
    fill_dense_rows();
    set_supplies();
    number_rows();
  }

  void solve() { transport_.solve(rule_->sinkhorn); }

  // An anchor goes where it has the largest share of a row's largest element, the background among the rows.
  void decode(const ImageMatches& out) {
    find_best_shares();
    const T most = most_of_background();
    for (size_t i = 0; i < anchors_.size(); ++i) {
      const int32_t g = best_gt_[i];
      if (g < 0 || best_share_[i] < background_mass(i) / most) continue;
      out.set(anchors_[i], g, pairs_.overlap_of(g, anchors_[i]));
    }
  }

 private:
  // The pairs within regions that have mass; ground truths with and without one.
  void fill_sparse_rows() {
    Transport<T>& t = transport_;
    t.begin.assign(1, 0);
    t.pair_column.clear();
    t.pair_cost.clear();
    far_.clear();
    near_.clear();
    for (int64_t g = 0; g < pairs_.count_gts(); ++g) {
      for (int64_t pair = pairs_.inside_begin[g]; pair < pairs_.inside_begin[g + 1]; ++pair) {
        if (!is_finite(pairs_.costs.cost[pair])) continue;
        t.pair_column.push_back(pairs_.inside[pair]);
        t.pair_cost.push_back(pairs_.costs.cost[pair]);
      }
      const int64_t end = static_cast<int64_t>(t.pair_column.size());
      if (end > t.begin.back()) {
        t.begin.push_back(end);
        near_.push_back(static_cast<int32_t>(g));
      } else {
        far_.push_back(static_cast<int32_t>(g));
      }
    }
  }

  // Columns are the anchors that a ground truth has a pair with, and one for all the rest, which only the background
  // serves; with a ground truth that looks at all anchors, these.
  void find_columns() {
    anchors_.clear();
    if (far_.empty()) {
      number_columns();
    } else {
      anchors_.resize(N_);
      std::iota(anchors_.begin(), anchors_.end(), 0);
    }
    free_ = N_ - static_cast<int64_t>(anchors_.size());
    transport_.columns = static_cast<int64_t>(anchors_.size()) + (free_ > 0);
    transport_.demand.assign(transport_.columns, static_cast<T>(1 + kTinyMass));
    if (free_ > 0) transport_.demand.back() = static_cast<T>(static_cast<double>(free_) * (1 + kTinyMass));
  }

  // Lists the anchors that have a pair; pairs go by the numbers of these from here on.
  void number_columns() {
    marks_.assign(N_, 0);
    for (int32_t j : transport_.pair_column) marks_[j] = 1;
    column_of_.resize(N_);
    for (int64_t j = 0; j < N_; ++j) {
      column_of_[j] = static_cast<int32_t>(anchors_.size());
      if (marks_[j]) anchors_.push_back(static_cast<int32_t>(j));
    }
    for (int32_t& j : transport_.pair_column) j = column_of_[j];
  }

  void fill_dense_rows() {
    Transport<T>& t = transport_;
    far_cost_.clear();
    for (int32_t g : far_) {
      pairs_.compute_costs(anchors_, {g}, {0, N_});
      far_cost_.insert(far_cost_.end(), pairs_.costs.cost.begin(), pairs_.costs.cost.end());
    }
    zeros_.assign(t.columns, T(0));
    t.dense = 1 + static_cast<int64_t>(far_.size());
    t.dense_cost.assign(1, zeros_.data());
    for (size_t i = 0; i < far_.size(); ++i) t.dense_cost.push_back(far_cost_.data() + i * N_);
    entries_.resize(t.dense * t.columns);
    t.entries = entries_.data();
  }

  // A far ground truth pays the penalty in every pair, and supplies nothing if none has a finite cost. The background
  // supplies what is left of the anchors.
  void set_supplies() {
    Transport<T>& t = transport_;
    t.supply.assign(1, T(0));
    t.x.assign(1, 0.0);
    int64_t rest = N_;
    for (size_t i = 0; i < far_.size(); ++i) {
      const T* row = t.dense_cost[1 + i];
      const bool able = std::any_of(row, row + N_, [](T cost) { return is_finite(cost); });
      rest -= add_supply(able ? pairs_.k[far_[i]] : 0, -kOutsidePenalty / rule_->sinkhorn.epsilon);
    }
    for (int32_t g : near_) rest -= add_supply(pairs_.k[g], 0.0);
    t.supply[0] = static_cast<T>(static_cast<double>(std::max(int64_t{0}, rest)) + kTinyMass);
  }

  int64_t add_supply(int64_t k, double potential) {
    transport_.supply.push_back(static_cast<T>(static_cast<double>(k) + kTinyMass));
    transport_.x.push_back(potential);
    return k;
  }

  void number_rows() {
    row_of_.resize(pairs_.count_gts());
    for (size_t i = 0; i < far_.size(); ++i) row_of_[far_[i]] = static_cast<int32_t>(1 + i);
    for (size_t i = 0; i < near_.size(); ++i) row_of_[near_[i]] = static_cast<int32_t>(transport_.dense + i);
  }

  // Of each anchor the ground truth whose row's largest element it has the largest share of, and that share.
  void find_best_shares() {
    best_share_.assign(transport_.columns, T(0));
    best_gt_.assign(transport_.columns, kNobody);
    for (int64_t g = 0; g < pairs_.count_gts(); ++g) {
      T most = T(0);
      each_mass(g, [&](int64_t, T mass) { most = larger(most, mass); });
      each_mass(g, [&](int64_t column, T mass) {
        if (!(mass / most > best_share_[column])) return;
        best_share_[column] = mass / most;
        best_gt_[column] = static_cast<int32_t>(g);
      });
    }
  }

  // Calls visit(column, mass), but for the row's factor.
  template <class Visit>
  void each_mass(int64_t g, const Visit& visit) const {
    const Transport<T>& t = transport_;
    const T* columns = t.column_factors.data();
    if (row_of_[g] < t.dense) {
      for (int64_t j = 0; j < t.columns; ++j) visit(j, t.entries[row_of_[g] * t.columns + j] * columns[j]);
      return;
    }
    const int64_t row = row_of_[g] - t.dense;
    for (int64_t p = t.begin[row]; p < t.begin[row + 1]; ++p) {
      visit(t.pair_column[p], t.pair_entries[p] * columns[t.pair_column[p]]);
    }
  }

  // But for the row's factor.
  T background_mass(size_t column) const { return transport_.entries[column] * transport_.column_factors[column]; }

  // The background's largest element. Its last column stands for all free anchors.
  T most_of_background() const {
    T most = free_ > 0 ? background_mass(anchors_.size()) / static_cast<T>(free_) : T(0);
    for (size_t i = 0; i < anchors_.size(); ++i) most = larger(most, background_mass(i));
    return most;
  }

  const OtaRule* rule_ = nullptr;
  int64_t N_ = 0;
  OtaPairs<T> pairs_;
  Transport<T> transport_;
  std::vector<int32_t> near_, far_;  // ground truths that are sparse rows, and dense ones
  std::vector<int32_t> row_of_;      // [gts]
  std::vector<int32_t> anchors_;     // of the columns
  int64_t free_ = 0;                 // anchors that share the last column
  std::vector<uint8_t> marks_;       // [N]
  std::vector<int32_t> column_of_;   // [N]
  std::vector<T> zeros_;             // [columns], what the background costs
  std::vector<T> far_cost_;          // [far, N]
  std::vector<T> entries_;           // [dense, columns]
  std::vector<T> best_share_;        // [columns]
  std::vector<int32_t> best_gt_;     // [columns], or kNobody
};

}  // namespace
}  // namespace yolox_ops
