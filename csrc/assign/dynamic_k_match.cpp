#include <algorithm>

#include "assign/counts.h"
#include "assign/tensors.h"
#include "assign/top.h"
#include "core/parallel.h"
#include "core/reader.h"

namespace yolox_ops {
namespace {

// Ground truths that are worth a thread of their own.
constexpr int64_t kGrain = 1;

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

template <class T>
void match_image(const Reader<double>& costs, const Reader<T>& overlaps, int64_t b, int64_t gts, int64_t N,
                 int64_t topk, bool to_nearest, Picks& picks, int64_t* matched_gt, float* matched_iou,
                 int64_t* num_fg) {
  picks.assign(gts, {});
  parallel_for(0, gts, kGrain, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch;
    for (int64_t g = begin; g < end; ++g) {
      const double* cost = costs.read_row(b, g, N, scratch.cost_row);
      const T sum = sum_largest(overlaps.read_row(b, g, N, scratch.iou_row), N, topk, scratch.overlaps);
      for (const Preference& pair : preferred(cost, N, dynamic_k(sum, N, to_nearest), scratch.costs)) {
        picks[g].push_back(pair.index);
      }
    }
  });
  std::fill_n(matched_gt, N, kNobody);
  std::fill_n(matched_iou, N, 0.0f);
  *num_fg = 0;
  for (int64_t g = 0; g < gts; ++g) {
    for (int64_t j : picks[g]) matched_gt[j] = matched_gt[j] == kNobody ? g : kSeveral;
  }
  for (int64_t j = 0; j < N; ++j) {
    if (matched_gt[j] == kNobody) continue;
    if (matched_gt[j] == kSeveral) {
      Preference best(costs.at(b, 0, j), 0);
      for (int64_t g = 1; g < gts; ++g) best = std::min(best, Preference(costs.at(b, g, j), g));
      matched_gt[j] = best.index;
    }
    const float overlap = static_cast<float>(overlaps.at(b, matched_gt[j], j));
    matched_iou[j] = overlap == overlap ? overlap : 0.0f;
    ++*num_fg;
  }
}

std::tuple<Tensor, Tensor, Tensor> dynamic_k_match(const Tensor& cost, const Tensor& iou,
                                                   const std::optional<Tensor>& num_gts, int64_t topk,
                                                   std::string k_rounding) {
  check_match(cost, iou, num_gts, topk);
  const bool to_nearest = parse_rounding(k_rounding);
  const int64_t B = cost.size(0), G = cost.size(1), N = cost.size(2);
  const std::vector<int64_t> counts = read_counts(num_gts, B, G);
  Tensor matched_gt = torch::stable::new_empty(cost, {B, N}, ScalarType::Long);
  Tensor matched_iou = torch::stable::new_empty(cost, {B, N}, ScalarType::Float);
  Tensor num_fg = torch::stable::new_empty(cost, {B}, ScalarType::Long);
  int64_t* gts = matched_gt.mutable_data_ptr<int64_t>();
  float* ious = matched_iou.mutable_data_ptr<float>();
  int64_t* totals = num_fg.mutable_data_ptr<int64_t>();
  const auto run = [&](const auto& overlaps) {
    parallel_items<Picks>(B, [&](Picks& picks, int64_t b) {
      match_image(Reader<double>(cost), overlaps, b, counts[b], N, topk, to_nearest, picks, gts + b * N, ious + b * N,
                  totals + b);
    });
  };
  is_float64(iou) ? run(Reader<double>(iou)) : run(Reader<float>(iou));
  return {matched_gt, matched_iou, num_fg};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) { m.impl("dynamic_k_match", TORCH_BOX(&yolox_ops::dynamic_k_match)); }
