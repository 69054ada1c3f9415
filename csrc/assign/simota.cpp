#include <algorithm>
#include <numeric>
#include <span>

#include "assign/image.h"
#include "assign/matches.h"
#include "assign/ranking.h"
#include "boxes/box_pool.h"
#include "core/parallel.h"

namespace yolox_ops {
namespace {

// Ground truths, and anchors in conflict, that are worth a thread of their own.
constexpr int64_t kGrain = 8;

template <class T>
struct Matching {
  Image<T> image;
  BoxPool<T> pool;                  // the candidates' boxes
  std::vector<int32_t> picks;       // [gts, q], the candidates that a ground truth takes
  std::vector<int32_t> pick_count;  // [gts]
  std::vector<int32_t> owner;       // [candidates], a ground truth, kNobody or kSeveral
  std::vector<int32_t> conflicts;   // candidates that several ground truths took
  std::vector<int64_t> gts_begin;   // [candidates + 1]: where a candidate's ground truths begin in gts_around
  std::vector<int32_t> gts_around;  // ground truths that a candidate is inside, candidate after candidate, ascending

  // At most so many candidates of a ground truth count for its k.
  int64_t q() const { return std::min(image.batch->rule.topk, image.size()); }

  std::span<const int32_t> gts_of(int32_t candidate) const {
    return {gts_around.data() + gts_begin[candidate], gts_around.data() + gts_begin[candidate + 1]};
  }
};

// Every ground truth takes its k preferred candidates; k is estimated from its largest overlaps with any.
template <class T>
void take_all_preferred(Matching<T>& m) {
  const Image<T>& image = m.image;
  const int64_t q = m.q();
  m.picks.resize(image.gts * q);
  m.pick_count.resize(image.gts);
  m.pool.fill(image.boxes.view(), image.size());
  parallel_for(0, image.gts, kGrain, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch;
    scratch.top.resize(q);
    for (int64_t g = begin; g < end; ++g) {
      const T sum = m.pool.sum_largest_overlaps(image.gt_box(g), scratch.top.data(), q);
      const int64_t k = dynamic_k(sum, q, image.batch->rule.to_nearest);
      if (k > 0) take_preferred(image, scratch, g, k, &m.picks[g * q]);
      m.pick_count[g] = static_cast<int32_t>(k);
    }
  });
}

// Finds who took each candidate, and which candidates several took.
template <class T>
void find_owners(Matching<T>& m) {
  const int64_t q = m.q();
  m.owner.assign(m.image.size(), kNobody);
  m.conflicts.clear();
  for (int64_t g = 0; g < m.image.gts; ++g) {
    for (int32_t i = 0; i < m.pick_count[g]; ++i) {
      const int32_t candidate = m.picks[g * q + i];
      int32_t& owner = m.owner[candidate];
      if (owner >= 0) m.conflicts.push_back(candidate);
      owner = owner == kNobody ? static_cast<int32_t>(g) : kSeveral;
    }
  }
  std::sort(m.conflicts.begin(), m.conflicts.end());
}

// Turns "candidates inside a ground truth" into "ground truths around a candidate".
template <class T>
void invert_inside(Matching<T>& m) {
  const Image<T>& image = m.image;
  m.gts_begin.assign(image.size() + 1, 0);
  for (int32_t candidate : image.inside) ++m.gts_begin[candidate + 1];
  std::partial_sum(m.gts_begin.begin(), m.gts_begin.end(), m.gts_begin.begin());
  m.gts_around.resize(image.inside.size());
  std::vector<int64_t> next(m.gts_begin.begin(), m.gts_begin.end() - 1);
  for (int64_t g = 0; g < image.gts; ++g) {
    for (int32_t candidate : image.inside_of(g)) m.gts_around[next[candidate]++] = static_cast<int32_t>(g);
  }
}

// The preferred of the ground truths around a candidate, of which there must be one. None asks for the penalty.
template <class T>
Preference find_best_around(const Matching<T>& m, Scratch<T>& scratch, int32_t candidate) {
  const std::span<const int32_t> gts = m.gts_of(candidate);
  const int64_t n = static_cast<int64_t>(gts.size());
  scratch.pairs.resize(n);
  for (int64_t i = 0; i < n; ++i) m.image.gather(scratch.pairs, i, gts[i], candidate);
  m.image.cost_slots(scratch.pairs, n);
  Preference best(scratch.pairs.cost[0], gts[0]);
  for (int64_t i = 1; i < n; ++i) best = std::min(best, Preference(scratch.pairs.cost[i], gts[i]));
  return best;
}

// The preferred of all ground truths of the image. Those not around the candidate ask for the penalty.
template <class T>
Preference find_best(const Matching<T>& m, Scratch<T>& scratch, int32_t candidate) {
  const int64_t n = m.image.gts;
  scratch.pairs.resize(n);
  for (int64_t g = 0; g < n; ++g) m.image.gather(scratch.pairs, g, g, candidate);
  m.image.cost_slots(scratch.pairs, n);
  scratch.penalty.assign(n, m.image.batch->rule.outside_penalty);
  for (int32_t g : m.gts_of(candidate)) scratch.penalty[g] = 0.0;
  Preference best(scratch.pairs.cost[0] + scratch.penalty[0], 0);
  for (int64_t g = 1; g < n; ++g) best = std::min(best, Preference(scratch.pairs.cost[g] + scratch.penalty[g], g));
  return best;
}

// The ground truth of lowest cost for a candidate, over all of the image, whoever took it.
template <class T>
int32_t find_cheapest_gt(const Matching<T>& m, Scratch<T>& scratch, int32_t candidate) {
  if (!m.gts_of(candidate).empty()) {
    const Preference best = find_best_around(m, scratch, candidate);
    if (!penalised_may_precede(best, m.image.batch->rule)) return static_cast<int32_t>(best.index);
  }
  return static_cast<int32_t>(find_best(m, scratch, candidate).index);
}

// Gives every candidate that several ground truths took to the cheapest.
template <class T>
void settle_conflicts(Matching<T>& m) {
  if (m.conflicts.empty()) return;
  invert_inside(m);
  parallel_for(0, m.conflicts.size(), kGrain, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch;
    for (int64_t i = begin; i < end; ++i) m.owner[m.conflicts[i]] = find_cheapest_gt(m, scratch, m.conflicts[i]);
  });
}

template <class T>
void match_image(Matching<T>& m, const Batch<T>& batch, int64_t b, const ImageMatches& out) {
  out.clear(batch.N);
  if (batch.counts[b] == 0) return;
  m.image.prepare(batch, b);
  if (m.image.size() == 0) return;
  take_all_preferred(m);
  find_owners(m);
  settle_conflicts(m);
  for (int64_t i = 0; i < m.image.size(); ++i) {
    const int32_t gt = m.owner[i];
    if (gt != kNobody) out.set(m.image.anchor[i], gt, iou(m.image.gt_box(gt), m.image.boxes.view()[i]));
  }
}

std::tuple<Tensor, Tensor, Tensor> simota(const Tensor& pred_boxes,                 // [B, N, 4]
                                          const Tensor& cls_logits,                 // [B, N, C]
                                          const std::optional<Tensor>& obj_logits,  // [B, N]
                                          const Tensor& anchor_points,              // [N, 2]
                                          const Tensor& strides,                    // [N]
                                          const Tensor& gt_boxes,                   // [B, G, 4]
                                          const Tensor& gt_labels,                  // [B, G]
                                          const std::optional<Tensor>& num_gts,     // [B]
                                          double center_radius, std::string candidates, double outside_penalty,
                                          double cls_weight, double iou_weight, double iou_eps, int64_t topk,
                                          std::string k_rounding) {
  const Scene scene{pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts};
  scene.check();
  const Rule rule =
      parse_rule(center_radius, candidates, outside_penalty, cls_weight, iou_weight, iou_eps, topk, k_rounding);
  Matches matches(scene);
  const MatchesByImage out(matches);
  dispatch_batch(scene, rule, [&]<class T>(const Batch<T>& batch) {
    parallel_items<Matching<T>>(batch.B, [&](Matching<T>& m, int64_t b) { match_image(m, batch, b, out[b]); });
  });
  return matches.tensors();
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_FRAGMENT(yolox_ops, m) {
  m.def("simota(" YOLOX_OPS_SCENE ", " YOLOX_OPS_COST_RULE ", int topk, str k_rounding) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) { m.impl("simota", TORCH_BOX(&yolox_ops::simota)); }
