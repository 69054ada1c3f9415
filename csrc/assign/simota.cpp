#include <algorithm>
#include <numeric>

#include "assign/image.h"
#include "boxes/box_pool.h"
#include "core/parallel.h"

namespace yolox_ops {
namespace {

// Ground truths, and anchors in conflict, that are worth a thread of their own.
constexpr int64_t kGrain = 8;
// What one thread needs to match ground truths or settle conflicts.
template <class T>
struct Scratch {
  Pairs<T> pairs;
  std::vector<Preference> row;
  std::vector<T> top;
  std::vector<double> penalty;
};

template <class T>
struct Matching {
  Image<T> image;
  BoxPool<T> pool;                  // the candidates' boxes
  std::vector<int32_t> picks;       // [gts, q], the candidates that a ground truth takes
  std::vector<int32_t> pick_count;  // [gts]
  std::vector<int32_t> owner;       // [candidates], a ground truth, kNobody or kSeveral
  std::vector<int32_t> conflicts;   // candidates that several ground truths took
  std::vector<int64_t> gts_begin;   // [candidates + 1]: where a candidate's ground truths begin in gts_inside
  std::vector<int32_t> gts_inside;  // ground truths in whose geometry a candidate lies, ascending
};

// Takes the k preferred candidates of ground truth g.
template <class T>
void pick(const Image<T>& image, Scratch<T>& scratch, int64_t g, int64_t k, int32_t* picks) {
  const int32_t* inside = image.inside.data() + image.inside_begin[g];
  const int64_t inside_count = image.inside_begin[g + 1] - image.inside_begin[g];
  auto& row = scratch.row;
  const auto prefer = [&](int64_t n, const auto& candidate, const auto& penalty) {
    row.clear();
    for (int64_t i = 0; i < n; ++i) row.emplace_back(scratch.pairs.cost[i] + penalty(i), candidate(i));
    std::partial_sort(row.begin(), row.begin() + k, row.end());
  };
  if (inside_count >= k) {
    scratch.pairs.resize(inside_count);
    for (int64_t i = 0; i < inside_count; ++i) image.gather(scratch.pairs, i, g, inside[i]);
    image.cost(scratch.pairs, inside_count);
    prefer(inside_count, [&](int64_t i) { return inside[i]; }, [](int64_t) { return 0.0; });
  }
  // The rare row that reaches beyond its own geometry.
  if (inside_count < k || row[k - 1].rank > 0 || row[k - 1].cost >= least_penalised(image.batch->rule)) {
    scratch.penalty.assign(image.size(), image.batch->rule.outside_penalty);
    for (int64_t i = 0; i < inside_count; ++i) scratch.penalty[inside[i]] = 0.0;
    image.cost_row(scratch.pairs, g);
    prefer(image.size(), [](int64_t i) { return i; }, [&](int64_t i) { return scratch.penalty[i]; });
  }
  for (int64_t i = 0; i < k; ++i) picks[i] = static_cast<int32_t>(row[i].index);
}

// Dynamic k of every ground truth, and its k candidates.
template <class T>
void pick_all(Matching<T>& m) {
  const Image<T>& image = m.image;
  const int64_t q = std::min(image.batch->rule.topk, image.size());
  m.picks.resize(image.gts * q);
  m.pick_count.resize(image.gts);
  m.pool.fill(image.boxes.view(), image.size());
  parallel_for(0, image.gts, kGrain, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch;
    scratch.top.resize(q);
    for (int64_t g = begin; g < end; ++g) {
      const T sum = m.pool.sum_largest_overlaps(image.gt_box(g), scratch.top.data(), q);
      const int64_t k = dynamic_k(sum, q, image.batch->rule.to_nearest);
      if (k > 0) pick(image, scratch, g, k, &m.picks[g * q]);
      m.pick_count[g] = static_cast<int32_t>(k);
    }
  });
  m.owner.assign(image.size(), kNobody);
  m.conflicts.clear();
  for (int64_t g = 0; g < image.gts; ++g) {
    for (int32_t i = 0; i < m.pick_count[g]; ++i) {
      const int32_t candidate = m.picks[g * q + i];
      int32_t& owner = m.owner[candidate];
      if (owner >= 0) m.conflicts.push_back(candidate);
      owner = owner == kNobody ? static_cast<int32_t>(g) : kSeveral;
    }
  }
}

// Turns "candidates inside a ground truth" into "ground truths around a candidate".
template <class T>
void invert_inside(Matching<T>& m) {
  const Image<T>& image = m.image;
  m.gts_begin.assign(image.size() + 1, 0);
  for (int32_t candidate : image.inside) ++m.gts_begin[candidate + 1];
  std::partial_sum(m.gts_begin.begin(), m.gts_begin.end(), m.gts_begin.begin());
  m.gts_inside.resize(image.inside.size());
  std::vector<int64_t> next(m.gts_begin.begin(), m.gts_begin.end() - 1);
  for (int64_t g = 0; g < image.gts; ++g) {
    for (int64_t at = image.inside_begin[g]; at < image.inside_begin[g + 1]; ++at) {
      m.gts_inside[next[image.inside[at]]++] = static_cast<int32_t>(g);
    }
  }
}

// The ground truth of lowest cost for a candidate, over all of the image, whoever took it.
template <class T>
int32_t cheapest_gt(const Matching<T>& m, Scratch<T>& scratch, int32_t candidate) {
  const Image<T>& image = m.image;
  const Rule& rule = image.batch->rule;
  const int32_t* around = m.gts_inside.data() + m.gts_begin[candidate];
  const int32_t* around_end = m.gts_inside.data() + m.gts_begin[candidate + 1];
  const auto best_of = [&](int64_t n, const auto& gt, const auto& penalty) {
    scratch.pairs.resize(n);
    for (int64_t i = 0; i < n; ++i) image.gather(scratch.pairs, i, gt(i), candidate);
    image.cost(scratch.pairs, n);
    Preference best(scratch.pairs.cost[0] + penalty(gt(0)), gt(0));
    for (int64_t i = 1; i < n; ++i) best = std::min(best, Preference(scratch.pairs.cost[i] + penalty(gt(i)), gt(i)));
    return best;
  };
  if (around < around_end) {
    const Preference best =
        best_of(around_end - around, [&](int64_t i) { return around[i]; }, [](int64_t) { return 0.0; });
    if (best.rank == 0 && best.cost < least_penalised(rule)) return static_cast<int32_t>(best.index);
  }
  const auto penalty = [&](int64_t g) {
    return std::binary_search(around, around_end, static_cast<int32_t>(g)) ? 0.0 : rule.outside_penalty;
  };
  return static_cast<int32_t>(best_of(image.gts, [](int64_t g) { return g; }, penalty).index);
}

template <class T>
void settle_conflicts(Matching<T>& m) {
  if (m.conflicts.empty()) return;
  std::sort(m.conflicts.begin(), m.conflicts.end());
  m.conflicts.erase(std::unique(m.conflicts.begin(), m.conflicts.end()), m.conflicts.end());
  invert_inside(m);
  parallel_for(0, m.conflicts.size(), kGrain, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch;
    for (int64_t i = begin; i < end; ++i) m.owner[m.conflicts[i]] = cheapest_gt(m, scratch, m.conflicts[i]);
  });
}

template <class T>
void match(const Batch<T>& batch, Tensor& matched_gt, Tensor& matched_iou, Tensor& num_fg) {
  int64_t* gts = matched_gt.mutable_data_ptr<int64_t>();
  float* ious = matched_iou.mutable_data_ptr<float>();
  int64_t* totals = num_fg.mutable_data_ptr<int64_t>();
  parallel_items<Matching<T>>(batch.B, [&](Matching<T>& m, int64_t b) {
    std::fill_n(gts + b * batch.N, batch.N, int64_t{-1});
    std::fill_n(ious + b * batch.N, batch.N, 0.0f);
    totals[b] = 0;
    if (batch.counts[b] == 0) return;
    m.image.prepare(batch, b);
    if (m.image.size() == 0) return;
    pick_all(m);
    settle_conflicts(m);
    for (int64_t i = 0; i < m.image.size(); ++i) {
      if (m.owner[i] < 0) continue;
      const int64_t at = b * batch.N + m.image.anchor[i];
      const T overlap = iou(m.image.gt_box(m.owner[i]), m.image.boxes.view()[i]);
      gts[at] = m.owner[i];
      ious[at] = overlap == overlap ? static_cast<float>(overlap) : 0.0f;
      ++totals[b];
    }
  });
}

std::tuple<Tensor, Tensor, Tensor> simota(const Tensor& pred_boxes, const Tensor& cls_logits,
                                          const std::optional<Tensor>& obj_logits, const Tensor& anchor_points,
                                          const Tensor& strides, const Tensor& gt_boxes, const Tensor& gt_labels,
                                          const std::optional<Tensor>& num_gts, double center_radius,
                                          std::string candidates, double outside_penalty, double cls_weight,
                                          double iou_weight, double iou_eps, int64_t topk, std::string k_rounding) {
  const Scene scene{pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts};
  scene.check();
  const Rule rule =
      parse_rule(center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps, topk, k_rounding);
  const int64_t B = pred_boxes.size(0), N = pred_boxes.size(1);
  Tensor matched_gt = torch::stable::new_empty(pred_boxes, {B, N}, ScalarType::Long);
  Tensor matched_iou = torch::stable::new_empty(pred_boxes, {B, N}, ScalarType::Float);
  Tensor num_fg = torch::stable::new_empty(pred_boxes, {B}, ScalarType::Long);
  dispatch_batch(scene, rule, [&](const auto& batch) { match(batch, matched_gt, matched_iou, num_fg); });
  return {matched_gt, matched_iou, num_fg};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) { m.impl("simota", TORCH_BOX(&yolox_ops::simota)); }
