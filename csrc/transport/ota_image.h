// One image of a batch for ota: its transport problem, and what its plan means.
#pragma once

#include <numeric>

#include "assign/batch.h"
#include "assign/top.h"
#include "transport/ota_costs.h"
#include "transport/sinkhorn_factors.h"

namespace yolox_ops {
namespace {

// One image. Ground truths with a pair that has mass in their own region are the sparse rows of the problem; the dense
// ones are the background and, after it, those that have none, which look at all anchors.
template <class T>
class OtaImage {
 public:
  // Reuses the memory of the image before.
  void prepare(const Batch<T>& s, const OtaRule& rule, int64_t b) {
    batch_ = &s;
    rule_ = &rule;
    index_ = b;
    gts_ = s.counts[b];
    find_pairs();
    find_columns();
    fill_dense_rows();
  }

  void solve() { transport_.solve(rule_->sinkhorn); }

  // Where each anchor has the largest share of a row's largest element.
  void decode(int64_t* matched_gt, float* matched_iou, int64_t* num_fg) {
    const T* columns = transport_.column_factors.data();
    best_share_.assign(transport_.columns, T(0));
    best_gt_.assign(transport_.columns, -1);
    for (int64_t g = 0; g < gts_; ++g) {
      T most = T(0);
      each_mass(g, [&](int64_t, T mass) { most = larger(most, mass); });
      each_mass(g, [&](int64_t column, T mass) {
        if (!(mass / most > best_share_[column])) return;
        best_share_[column] = mass / most;
        best_gt_[column] = static_cast<int32_t>(g);
      });
    }
    const T* background = transport_.entries;
    const T rest = static_cast<T>(std::max(int64_t{1}, free_));  // the last column stands for so many anchors
    T most = free_ > 0 ? background[anchors_.size()] * columns[anchors_.size()] / rest : T(0);
    for (size_t i = 0; i < anchors_.size(); ++i) most = larger(most, background[i] * columns[i]);
    for (size_t i = 0; i < anchors_.size(); ++i) {
      const int32_t g = best_gt_[i];
      if (g < 0 || best_share_[i] < background[i] * columns[i] / most) continue;
      matched_gt[anchors_[i]] = g;
      matched_iou[anchors_[i]] = static_cast<float>(overlap_of(g, anchors_[i]));
      ++*num_fg;
    }
  }

 private:
  T overlap_of(int64_t g, int64_t anchor) {
    const T* p = batch_->pred_boxes.read_row(index_, anchor, 4, scratch_);
    return iou(gt_box(g), load_box(p, Format::kCxcywh, Kind::kIou));
  }

  const Box<T>& gt_box(int64_t g) const { return batch_->gt_boxes[index_ * batch_->G + g]; }

  // Sets overlaps and costs of pairs: of ground truth g with anchors[begin[i]], ..., for the i-th g.
  void cost_pairs(const std::vector<int32_t>& anchors, const std::vector<int32_t>& gts,
                  const std::vector<int64_t>& begin) {
    const Batch<T>& s = *batch_;
    const int64_t n = static_cast<int64_t>(anchors.size());
    costs_.resize(n);
    for (int k = 0; k < 4; ++k) s.pred_boxes.gather(index_, anchors.data(), n, k, costs_.box[k].data());
    if (s.has_obj) {
      s.obj_logits.gather(index_, anchors.data(), n, 0, costs_.obj_logit.data());
      simd_compute_objectness(n, costs_.obj_logit.data(), costs_.obj_exp.data(), costs_.obj_softplus.data());
    }
    for (size_t i = 0; i < gts.size(); ++i) {
      const int64_t first = begin[i], count = begin[i + 1] - first;
      const auto at = [first](auto& v) { return v.data() + first; };
      const auto& box = costs_.box;
      const CentreView<T> boxes{at(box[0]), at(box[1]), at(box[2]), at(box[3])};
      simd_compute_overlaps(gt_box(gts[i]), boxes, count, at(costs_.overlap));
      s.cls_logits.gather(index_, at(anchors), count, s.labels[index_ * s.G + gts[i]], at(costs_.logit));
    }
    simd_compute_costs(n, costs_.overlap.data(), costs_.logit.data(), costs_.obj_exp.data(), costs_.obj_softplus.data(),
                       s.without_obj(), *rule_, costs_.cost.data());
  }

  // Pairs of each ground truth within its own region, and its supply.
  void find_pairs() {
    inside_.clear();
    inside_begin_.assign(1, 0);
    for (int64_t g = 0; g < gts_; ++g) {
      const Target<T>& target = batch_->targets[index_ * batch_->G + g];
      batch_->anchors.each_candidate(target, rule_->region.candidates,
                                     [&](int64_t j, bool) { inside_.push_back(static_cast<int32_t>(j)); });
      inside_begin_.push_back(static_cast<int64_t>(inside_.size()));
    }
    all_gts_.resize(gts_);
    std::iota(all_gts_.begin(), all_gts_.end(), 0);
    cost_pairs(inside_, all_gts_, inside_begin_);

    Transport<T>& t = transport_;
    t.begin.assign(1, 0);
    t.pair_column.clear();
    t.pair_cost.clear();
    far_.clear();
    near_.clear();
    k_.resize(gts_);
    for (int64_t g = 0; g < gts_; ++g) {
      for (int64_t p = inside_begin_[g]; p < inside_begin_[g + 1]; ++p) {
        if (!is_finite(costs_.cost[p])) continue;
        t.pair_column.push_back(inside_[p]);
        t.pair_cost.push_back(costs_.cost[p]);
      }
      const int64_t first = inside_begin_[g], count = inside_begin_[g + 1] - first;
      const T sum = sum_largest(costs_.overlap.data() + first, count, rule_->region.topk, overlaps_);
      k_[g] = dynamic_k(sum, batch_->N, false);
      const int64_t pairs = static_cast<int64_t>(t.pair_column.size());
      if (pairs > t.begin.back()) {
        t.begin.push_back(pairs);
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
      marks_.assign(batch_->N, 0);
      for (int32_t j : transport_.pair_column) marks_[j] = 1;
      position_.resize(batch_->N);
      for (int64_t j = 0; j < batch_->N; ++j) {
        position_[j] = static_cast<int32_t>(anchors_.size());
        if (marks_[j]) anchors_.push_back(static_cast<int32_t>(j));
      }
      for (int32_t& j : transport_.pair_column) j = position_[j];
    } else {
      anchors_.resize(batch_->N);
      std::iota(anchors_.begin(), anchors_.end(), 0);
    }
    free_ = batch_->N - static_cast<int64_t>(anchors_.size());
    transport_.columns = static_cast<int64_t>(anchors_.size()) + (free_ > 0);
    transport_.demand.assign(transport_.columns, static_cast<T>(1 + kTinyMass));
    if (free_ > 0) transport_.demand.back() = static_cast<T>(static_cast<double>(free_) * (1 + kTinyMass));
  }

  void fill_dense_rows() {
    Transport<T>& t = transport_;
    far_cost_.clear();
    for (int32_t g : far_) {
      cost_pairs(anchors_, {g}, {0, batch_->N});
      far_cost_.insert(far_cost_.end(), costs_.cost.begin(), costs_.cost.end());
    }
    zeros_.assign(t.columns, T(0));
    t.dense = 1 + static_cast<int64_t>(far_.size());
    t.dense_cost.assign(1, zeros_.data());
    t.supply.assign(1, T(0));
    t.x.assign(1, 0.0);
    int64_t total = 0;
    const auto add_row = [&](int64_t k, double potential) {
      t.supply.push_back(static_cast<T>(static_cast<double>(k) + kTinyMass));
      t.x.push_back(potential);
      total += k;
    };
    for (size_t i = 0; i < far_.size(); ++i) {
      const T* row = far_cost_.data() + i * batch_->N;
      const bool able = std::any_of(row, row + batch_->N, [](T cost) { return is_finite(cost); });
      t.dense_cost.push_back(row);
      add_row(able ? k_[far_[i]] : 0, -kOutsidePenalty / rule_->sinkhorn.epsilon);
    }
    for (int32_t g : near_) add_row(k_[g], 0.0);
    t.supply[0] = static_cast<T>(static_cast<double>(std::max(int64_t{0}, batch_->N - total)) + kTinyMass);
    entries_.resize(t.dense * t.columns);
    t.entries = entries_.data();
    row_of_.resize(gts_);
    for (size_t i = 0; i < far_.size(); ++i) row_of_[far_[i]] = static_cast<int32_t>(1 + i);
    for (size_t i = 0; i < near_.size(); ++i) row_of_[near_[i]] = static_cast<int32_t>(t.dense + i);
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

  const Batch<T>* batch_ = nullptr;
  const OtaRule* rule_ = nullptr;
  int64_t index_ = 0, gts_ = 0, free_ = 0;
  Transport<T> transport_;
  Costs<T> costs_;
  std::vector<int32_t> inside_;  // anchors in regions, gt after gt
  std::vector<int64_t> inside_begin_, k_;
  std::vector<int32_t> all_gts_, near_, far_;  // near: gts that are sparse rows; far: dense ones
  std::vector<int32_t> row_of_, anchors_, position_, best_gt_;
  std::vector<uint8_t> marks_;
  std::vector<T> zeros_, far_cost_, entries_, best_share_, scratch_;
  Leaders<T, std::greater<T>> overlaps_;
};

}  // namespace
}  // namespace yolox_ops
