// The expensive loops of OTA's cost: overlaps and costs of many pairs.
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
  std::vector<T> box[4];  // cx, cy, w, h
  std::vector<T> overlap, logit, obj_logit, obj_exp, obj_softplus, cost;

  void resize(int64_t n) {
    for (auto& v : box) v.resize(n);
    for (auto* v : {&overlap, &logit, &obj_logit, &obj_exp, &obj_softplus, &cost}) v->resize(n);
  }
};

YOLOX_OPS_SIMD_LOOP(void, compute_overlaps, (const Box<T>& gt, const CentreView<T>& boxes, int64_t n, T* out),
                    (gt, boxes, n, out));

// Costs of n pairs over that of the background.
template <class T>
YOLOX_OPS_INLINE void compute_costs(int64_t n,
                                    const T* __restrict overlap,       // [n]
                                    const T* __restrict logit,         // [n], of the ground truth's class
                                    const T* __restrict obj_exp,       // [n]
                                    const T* __restrict obj_softplus,  // [n]
                                    T without_obj, const OtaRule rule,
                                    T* __restrict cost) {  // [n]
  for (int64_t i = 0; i < n; ++i) {
    cost[i] = transport_cost(overlap[i], logit[i], Objectness<T>{obj_exp[i], obj_softplus[i]}, without_obj, rule);
  }
}

YOLOX_OPS_SIMD_LOOP(void, compute_costs,
                    (int64_t n, const T* overlap, const T* logit, const T* obj_exp, const T* obj_softplus,
                     T without_obj, const OtaRule& rule, T* cost),
                    (n, overlap, logit, obj_exp, obj_softplus, without_obj, rule, cost));

}  // namespace
}  // namespace yolox_ops
