// What many anchors' objectness brings to their costs, as one loop.
#pragma once

#include "assign/rule.h"
#include "core/simd.h"

namespace yolox_ops {
namespace {

// e^-o and log(1 + e^-o) of n objectness logits.
template <class T>
YOLOX_OPS_INLINE void objectness_loop(int64_t n, const T* __restrict logits, T* __restrict exps,
                                      T* __restrict softplus) {
  for (int64_t i = 0; i < n; ++i) {
    const Objectness<T> obj = objectness(logits[i]);
    exps[i] = obj.exp;
    softplus[i] = obj.softplus;
  }
}

YOLOX_OPS_SIMD void simd_objectness(int64_t n, const float* logits, float* exps, float* softplus) {
  objectness_loop(n, logits, exps, softplus);
}
YOLOX_OPS_SIMD void simd_objectness(int64_t n, const double* logits, double* exps, double* softplus) {
  objectness_loop(n, logits, exps, softplus);
}

}  // namespace
}  // namespace yolox_ops
