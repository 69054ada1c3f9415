// The pairs of an image's ground truths with anchors for ota: those in regions, their costs, and the supplies.
#pragma once

#include <functional>
#include <numeric>
#include <vector>

#include "assign/batch.h"
#include "assign/top.h"
#include "transport/ota_costs.h"

namespace yolox_ops {
namespace {

template <class T>
class OtaPairs {
 public:
  // Finds the pairs of every ground truth within its own region, costs them, and estimates its supply. Reuses the
  // memory of the image before.
  void find(const Batch<T>& batch, const OtaRule& rule, int64_t b) {
    batch_ = &batch;
    rule_ = &rule;
    index_ = b;
    find_inside();
    all_gts_.resize(count_gts());
    std::iota(all_gts_.begin(), all_gts_.end(), 0);
    compute_costs(inside, all_gts_, inside_begin);
    estimate_supplies();
  }

  int64_t count_gts() const { return batch_->counts[index_]; }

  T overlap_of(int64_t g, int64_t anchor) {
    const T* box = batch_->pred_boxes.read_row(index_, anchor, 4, scratch_);
    return iou(batch_->gt_box(index_, g), load_box(box, Format::kCxcywh, Kind::kIou));
  }

  // Sets overlaps and costs of pairs: of ground truth gts[i] with anchors[begin[i]] up to anchors[begin[i + 1] - 1].
  void compute_costs(const std::vector<int32_t>& anchors, const std::vector<int32_t>& gts,
                     const std::vector<int64_t>& begin) {
    const Batch<T>& batch = *batch_;
    const int64_t n = static_cast<int64_t>(anchors.size());
    costs.resize(n);
    for (int k = 0; k < 4; ++k) batch.pred_boxes.gather(index_, anchors.data(), n, k, costs.box[k].data());
    if (batch.has_obj) {
      batch.obj_logits.gather(index_, anchors.data(), n, 0, costs.obj_logit.data());
      simd_compute_objectness(n, costs.obj_logit.data(), costs.obj_exp.data(), costs.obj_softplus.data());
    }
    for (size_t i = 0; i < gts.size(); ++i) {
      const int64_t first = begin[i], count = begin[i + 1] - first;
      const auto from_first = [first](auto& v) { return v.data() + first; };
      const auto& box = costs.box;
      const CentreView<T> boxes{from_first(box[0]), from_first(box[1]), from_first(box[2]), from_first(box[3])};
      simd_compute_overlaps(batch.gt_box(index_, gts[i]), boxes, count, from_first(costs.overlap));
      const int64_t label = batch.label(index_, gts[i]);
      batch.cls_logits.gather(index_, from_first(anchors), count, label, from_first(costs.logit));
    }
    simd_compute_costs(n, costs.overlap.data(), costs.logit.data(), costs.obj_exp.data(), costs.obj_softplus.data(),
                       batch.without_obj(), *rule_, costs.cost.data());
  }

  std::vector<int32_t> inside;        // anchors in regions, gt after gt
  std::vector<int64_t> inside_begin;  // [gts + 1]
  std::vector<int64_t> k;             // [gts], the supplies
  Costs<T> costs;                     // of the pairs that were costed last

 private:
  void find_inside() {
    inside.clear();
    inside_begin.assign(1, 0);
    for (int64_t g = 0; g < count_gts(); ++g) {
      batch_->anchors.each_candidate(batch_->target(index_, g), rule_->region.candidates,
                                     [&](int64_t j, bool) { inside.push_back(static_cast<int32_t>(j)); });
      inside_begin.push_back(static_cast<int64_t>(inside.size()));
    }
  }

  void estimate_supplies() {
    k.resize(count_gts());
    for (int64_t g = 0; g < count_gts(); ++g) {
      const int64_t first = inside_begin[g], count = inside_begin[g + 1] - first;
      const T sum = sum_largest(costs.overlap.data() + first, count, rule_->region.topk, overlaps_);
      k[g] = dynamic_k(sum, batch_->N, false);
    }
  }

  const Batch<T>* batch_ = nullptr;
  const OtaRule* rule_ = nullptr;
  int64_t index_ = 0;
  std::vector<int32_t> all_gts_;
  std::vector<T> scratch_;
  Leaders<T, std::greater<T>> overlaps_;
};

}  // namespace
}  // namespace yolox_ops
