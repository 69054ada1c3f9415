// Overlaps and costs of many pairs of OTA side by side.
#pragma once

#include <vector>

#include "assign/objectness.h"
#include "boxes/box_arrays.h"
#include "core/simd.h"
#include "transport/ota.h"

namespace yolox_ops {
namespace {

// Pairs of ground truths and anchors, to be costed as one loop.
template <class T>
struct Costs {
  std::vector<T> box[4], overlap, logit, obj_logit, obj_exp, obj_softplus, cost;  // box: cx, cy, w, h

  void resize(int64_t n) {
    for (auto& v : box) v.resize(n);
    for (auto* v : {&overlap, &logit, &obj_logit, &obj_exp, &obj_softplus, &cost}) v->resize(n);
  }
};

YOLOX_OPS_SIMD void simd_overlaps(const Box<float>& gt, const CentreView<float>& boxes, int64_t n, float* out) {
  overlap_loop(gt, boxes, n, out);
}
YOLOX_OPS_SIMD void simd_overlaps(const Box<double>& gt, const CentreView<double>& boxes, int64_t n, double* out) {
  overlap_loop(gt, boxes, n, out);
}

template <class T>
YOLOX_OPS_INLINE void cost_loop(int64_t n, const T* __restrict overlap, const T* __restrict logit,
                                const T* __restrict obj_exp, const T* __restrict obj_softplus, T without_obj,
                                const OtaRule rule, T* __restrict cost) {
  for (int64_t i = 0; i < n; ++i) {
    cost[i] = transport_cost(overlap[i], logit[i], Objectness<T>{obj_exp[i], obj_softplus[i]}, without_obj, rule);
  }
}

YOLOX_OPS_SIMD void simd_costs(int64_t n, const float* overlap, const float* logit, const float* obj_exp,
                               const float* obj_softplus, float without_obj, const OtaRule& rule, float* cost) {
  cost_loop(n, overlap, logit, obj_exp, obj_softplus, without_obj, rule, cost);
}
YOLOX_OPS_SIMD void simd_costs(int64_t n, const double* overlap, const double* logit, const double* obj_exp,
                               const double* obj_softplus, double without_obj, const OtaRule& rule, double* cost) {
  cost_loop(n, overlap, logit, obj_exp, obj_softplus, without_obj, rule, cost);
}

}  // namespace
}  // namespace yolox_ops
