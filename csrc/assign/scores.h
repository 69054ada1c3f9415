// The expensive loops of SimOTA's cost: the class sums of an anchor, and the costs of many pairs.
#pragma once

#include "assign/objectness.h"
#include "assign/rule.h"
#include "boxes/box_arrays.h"
#include "core/simd.h"

namespace yolox_ops {
namespace {

// Sum over classes of -log(1 - p).
template <class T>
YOLOX_OPS_INLINE double sum_negatives(const T* __restrict logits,  // [classes]
                                      int64_t classes, T obj_exp, T without_obj) {
  double total = 0;
  for (int64_t chunk = 0; chunk < classes; chunk += kSums * kFactors) {
    const int64_t end = chunk + kSums * kFactors < classes ? chunk + kSums * kFactors : classes;
    T over[kSums], under[kSums], poison[kSums];  // 0, or NaN if a class is
    int32_t exponent[kSums];
    for (int64_t lane = 0; lane < kSums; ++lane) {
      over[lane] = under[lane] = T(1);
      poison[lane] = T(0);
      exponent[lane] = 0;
    }
    T tail[kSums];
    for (int64_t c = chunk; c < end; c += kSums) {
      const T* __restrict block = logits + c;
      if (end - c < kSums) {
        for (int64_t lane = 0; lane < kSums; ++lane) tail[lane] = lane < end - c ? block[lane] : T(kNoClass);
        block = tail;
      }
      for (int64_t lane = 0; lane < kSums; ++lane) {
        const T odds = score_odds(exp_scaled(-block[lane], kShift<T>), obj_exp, without_obj);
        multiply_class(odds, over[lane], under[lane], exponent[lane]);
        poison[lane] += odds * T(0);
      }
    }
    T sums[kSums];
    for (int64_t lane = 0; lane < kSums; ++lane) {
      sums[lane] = log_scaled(over[lane] / under[lane], exponent[lane]) + poison[lane];
    }
    for (int64_t lane = 0; lane < kSums; ++lane) total += sums[lane];
  }
  return total;
}

YOLOX_OPS_SIMD_LOOP(double, sum_negatives, (const T* logits, int64_t classes, T obj_exp, T without_obj),
                    (logits, classes, obj_exp, without_obj));
YOLOX_OPS_SIMD_LOOP(void, compute_overlaps, (const Box<T>& gt, const BoxView<T>& boxes, int64_t n, T* out),
                    (gt, boxes, n, out));

// What anchors bring to their costs (rule.h: Score), one array per member.
template <class T>
struct Scores {
  std::vector<double> negatives;
  std::vector<T> obj_exp, obj_softplus;  // zeros without objectness

  void resize(int64_t n) {
    negatives.resize(n);
    obj_exp.resize(n);
    obj_softplus.resize(n);
  }
};

// Pairs gathered side by side, to be costed as one loop.
template <class T>
struct Pairs {
  std::vector<T> overlap, logit, cost;
  Scores<T> scores;

  void resize(int64_t n) {
    for (auto* v : {&overlap, &logit, &cost}) v->resize(n);
    scores.resize(n);
  }
};

// Costs of n pairs, without penalty.
template <class T>
YOLOX_OPS_INLINE void compute_costs(int64_t n,
                                    const T* __restrict overlap,         // [n]
                                    const T* __restrict logit,           // [n], of the ground truth's class
                                    const double* __restrict negatives,  // [n]
                                    const T* __restrict obj_exp,         // [n]
                                    const T* __restrict obj_softplus,    // [n]
                                    T without_obj, const Rule rule,
                                    T* __restrict cost) {  // [n]
  for (int64_t i = 0; i < n; ++i) {
    cost[i] = pair_cost(overlap[i], logit[i], Score<T>{negatives[i], {obj_exp[i], obj_softplus[i]}}, without_obj, rule);
  }
}

YOLOX_OPS_SIMD_LOOP(void, compute_costs,
                    (int64_t n, const T* overlap, const T* logit, const double* negatives, const T* obj_exp,
                     const T* obj_softplus, T without_obj, const Rule& rule, T* cost),
                    (n, overlap, logit, negatives, obj_exp, obj_softplus, without_obj, rule, cost));

}  // namespace
}  // namespace yolox_ops
