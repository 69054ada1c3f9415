// OTA's costs and guards, once for CPU and CUDA: Ge et al. 2021 (Optimal Transport Assignment), as Megvii's code has
// it.
#pragma once

#include "assign/tensors.h"
#include "transport/sinkhorn.h"

namespace yolox_ops {

struct OtaRule {
  Rule region;  // center_radius, candidates, topk
  double iou_weight;
  double focal_alpha;
  double focal_gamma;
  SinkhornRule sinkhorn;
};

inline OtaRule parse_ota(double center_radius, int64_t topk, double iou_weight, double epsilon, int64_t iterations,
                         double tolerance, double focal_alpha, double focal_gamma) {
  Rule region = parse_rule(center_radius, "center", 0, 0, 0, 1, topk, "down");
  region.candidates = Candidates::kBoxAndCenter;
  check_between(iou_weight, "iou_weight", 0, 1e3);
  check_between(epsilon, "epsilon", 1e-3, 100);
  check(iterations <= 1000, "iterations must be in [1, 1000], got ", iterations);
  check_between(focal_alpha, "focal_alpha", 0, 1);
  check_between(focal_gamma, "focal_gamma", 0, 100);
  return {region, iou_weight, focal_alpha, focal_gamma, parse_sinkhorn(epsilon, iterations, tolerance)};
}

// What a pair outside the region of its ground truth pays.
constexpr double kOutsidePenalty = 1e6;

// The focal loss of label 1 less that of label 0 (Lin et al. 2017, eq. 5): what a pair costs more than the background
// for the class. Other classes cost both the same, which cancels in the plan.
template <class T>
YOLOX_OPS_INLINE T focal_swap(T logit, Objectness<T> obj, T without_obj, T alpha, T gamma) {
  const Entropies<T> entropy = entropies(logit, obj, without_obj);
  // p^gamma and (1 - p)^gamma
  const T p_power = exp_scaled(-gamma * entropy.positive, 0), rest_power = exp_scaled(-gamma * entropy.negative, 0);
  return alpha * (rest_power * entropy.positive) - (T(1) - alpha) * (p_power * entropy.negative);
}

// The cost of a pair over that of the background, without the penalty.
template <class T>
YOLOX_OPS_INLINE T transport_cost(T overlap, T logit, Objectness<T> obj, T without_obj, const OtaRule& rule) {
  const T least = T(1.1920928955078125e-7);  // float32's epsilon
  const T log_overlap = log_scaled(overlap < least ? least : overlap, 0);
  return focal_swap(logit, obj, without_obj, T(rule.focal_alpha), T(rule.focal_gamma)) -
         T(rule.iou_weight) * log_overlap;
}

}  // namespace yolox_ops
