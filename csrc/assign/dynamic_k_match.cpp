#include <algorithm>

#include "assign/counts.h"
#include "assign/matches.h"
#include "assign/tensors.h"
#include "assign/top.h"
#include "core/parallel.h"
#include "core/reader.h"

namespace yolox_ops {
namespace {

// Ground truths that are worth a thread of their own.
constexpr int64_t kGrain = 1;

template <class T>
struct Matrices {
  Reader<double> costs;  // [B, G, N]
  Reader<T> overlaps;    // [B, G, N]
  int64_t N, topk;
  bool to_nearest;
};

// One thread's memory for the rows of a matrix.
template <class T>
struct Scratch {
  std::vector<double> cost_row;
  std::vector<T> iou_row;
  Leaders<T, std::greater<T>> overlaps;
  Leaders<Preference, std::less<Preference>> costs;
};

// The anchors that each ground truth takes.
using Picks = std::vector<std::vector<int64_t>>;

// Every ground truth takes its k preferred anchors.
template <class T>
void take_all_preferred(const Matrices<T>& m, int64_t b, int64_t gts, Picks& picks) {
  picks.assign(gts, {});
  parallel_for(0, gts, kGrain, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch;
    for (int64_t g = begin; g < end; ++g) {
      const double* cost = m.costs.read_row(b, g, m.N, scratch.cost_row);
      const T sum = sum_largest(m.overlaps.read_row(b, g, m.N, scratch.iou_row), m.N, m.topk, scratch.overlaps);
      const int64_t k = dynamic_k(sum, m.N, m.to_nearest);
      for (const Preference& pair : find_preferred(cost, m.N, k, scratch.costs)) picks[g].push_back(pair.index);
    }
  });
}

// The ground truth of lowest cost for an anchor, over all of the image, whoever took it.
template <class T>
int64_t find_cheapest_gt(const Matrices<T>& m, int64_t b, int64_t gts, int64_t anchor) {
  Preference best(m.costs.at(b, 0, anchor), 0);
  for (int64_t g = 1; g < gts; ++g) best = std::min(best, Preference(m.costs.at(b, g, anchor), g));
  return best.index;
}

template <class T>
void match_image(const Matrices<T>& m, int64_t b, int64_t gts, Picks& picks, const ImageMatches& out) {
  take_all_preferred(m, b, gts, picks);
  out.clear(m.N);
  int64_t* owner = out.matched_gt;  // a ground truth, kNobody or kSeveral
  for (int64_t g = 0; g < gts; ++g) {
    for (int64_t anchor : picks[g]) owner[anchor] = owner[anchor] == kNobody ? g : kSeveral;
  }
  for (int64_t anchor = 0; anchor < m.N; ++anchor) {
    if (owner[anchor] == kNobody) continue;
    const int64_t gt = owner[anchor] == kSeveral ? find_cheapest_gt(m, b, gts, anchor) : owner[anchor];
    out.set(anchor, gt, m.overlaps.at(b, gt, anchor));
  }
}

template <class T>
void match(const Matrices<T>& m, const std::vector<int64_t>& counts, Matches& matches) {
  const MatchesByImage out(matches);
  parallel_items<Picks>(static_cast<int64_t>(counts.size()),
                        [&](Picks& picks, int64_t b) { match_image(m, b, counts[b], picks, out[b]); });
}

std::tuple<Tensor, Tensor, Tensor> dynamic_k_match(const Tensor& cost,                    // [B, G, N]
                                                   const Tensor& iou,                     // [B, G, N]
                                                   const std::optional<Tensor>& num_gts,  // [B]
                                                   int64_t topk, std::string k_rounding) {
  check_match(cost, iou, num_gts, topk);
  const bool to_nearest = parse_rounding(k_rounding);
  const int64_t B = cost.size(0), G = cost.size(1), N = cost.size(2);
  const std::vector<int64_t> counts = read_counts(num_gts, B, G);
  Matches matches(cost, B, N);
  dispatch_dtype(iou.scalar_type(), [&]<class T>() {
    match(Matrices<T>{Reader<double>(cost), Reader<T>(iou), N, topk, to_nearest}, counts, matches);
  });
  return matches.tensors();
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_FRAGMENT(yolox_ops, m) {
  m.def(
      "dynamic_k_match(Tensor cost, Tensor iou, Tensor? num_gts, int topk, str k_rounding) -> (Tensor, Tensor, "
      "Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) { m.impl("dynamic_k_match", TORCH_BOX(&yolox_ops::dynamic_k_match)); }
