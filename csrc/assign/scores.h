// The costly loops of SimOTA's cost: class sums of an anchor, and costs of many pairs side by side.
#pragma once

#include "assign/objectness.h"
#include "assign/rule.h"
#include "boxes/box_arrays.h"
#include "core/simd.h"

namespace yolox_ops {
namespace {

// Sum over classes of -log(1 - p).
template <class T>
YOLOX_OPS_INLINE double sum_negatives(const T* __restrict logits, int64_t classes, T obj_exp, T without_obj) {
  double total = 0;
  for (int64_t chunk = 0; chunk < classes; chunk += kSums * kFactors) {
    const int64_t end = chunk + kSums * kFactors < classes ? chunk + kSums * kFactors : classes;
    T over[kSums], under[kSums], poison[kSums];
    int32_t exponent[kSums];
    for (int64_t lane = 0; lane < kSums; ++lane) {
      over[lane] = under[lane] = T(1);
      poison[lane] = T(0);
      exponent[lane] = 0;
    }
    int64_t c = chunk;
    T tail[kSums];
    while (c < end) {
      const T* __restrict block = logits + c;
      if (end - c < kSums) {
        for (int64_t lane = 0; lane < kSums; ++lane) tail[lane] = lane < end - c ? block[lane] : T(kNoClass);
        block = tail;
      }
      for (int64_t lane = 0; lane < kSums; ++lane) {
        multiply_class(block[lane], obj_exp, without_obj, over[lane], under[lane], exponent[lane], poison[lane]);
      }
      c += kSums;
    }
    T sums[kSums];
    for (int64_t lane = 0; lane < kSums; ++lane) {
      sums[lane] = log_scaled(over[lane] / under[lane], exponent[lane]) + poison[lane];
    }
    for (int64_t lane = 0; lane < kSums; ++lane) total += sums[lane];
  }
  return total;
}

YOLOX_OPS_SIMD double simd_negatives(const float* logits, int64_t classes, float obj_exp, float without_obj) {
  return sum_negatives(logits, classes, obj_exp, without_obj);
}
YOLOX_OPS_SIMD double simd_negatives(const double* logits, int64_t classes, double obj_exp, double without_obj) {
  return sum_negatives(logits, classes, obj_exp, without_obj);
}

YOLOX_OPS_SIMD void simd_overlaps(const Box<float>& gt, const BoxView<float>& boxes, int64_t n, float* out) {
  overlap_loop(gt, boxes, n, out);
}
YOLOX_OPS_SIMD void simd_overlaps(const Box<double>& gt, const BoxView<double>& boxes, int64_t n, double* out) {
  overlap_loop(gt, boxes, n, out);
}

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

template <class T>
YOLOX_OPS_INLINE void cost_loop(int64_t n, const T* __restrict overlap, const T* __restrict logit,
                                const double* __restrict negatives, const T* __restrict obj_exp,
                                const T* __restrict obj_softplus, T without_obj, const Rule rule, T* __restrict cost) {
  for (int64_t i = 0; i < n; ++i) {
    cost[i] = pair_cost(overlap[i], logit[i], Score<T>{negatives[i], {obj_exp[i], obj_softplus[i]}}, without_obj, rule);
  }
}

YOLOX_OPS_SIMD void simd_costs(int64_t n, const float* overlap, const float* logit, const double* negatives,
                               const float* obj_exp, const float* obj_softplus, float without_obj, const Rule& rule,
                               float* cost) {
  cost_loop(n, overlap, logit, negatives, obj_exp, obj_softplus, without_obj, rule, cost);
}
YOLOX_OPS_SIMD void simd_costs(int64_t n, const double* overlap, const double* logit, const double* negatives,
                               const double* obj_exp, const double* obj_softplus, double without_obj, const Rule& rule,
                               double* cost) {
  cost_loop(n, overlap, logit, negatives, obj_exp, obj_softplus, without_obj, rule, cost);
}

}  // namespace
}  // namespace yolox_ops
