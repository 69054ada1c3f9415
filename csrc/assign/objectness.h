// What objectness adds to the costs of many anchors, in one loop.
#pragma once

#include "assign/rule.h"
#include "core/simd.h"

namespace yolox_ops {
namespace {

// e^-o and log(1 + e^-o) of n objectness logits.
template <class T>
YOLOX_OPS_INLINE void compute_objectness(int64_t n,
                                         const T* __restrict logits,  // [n]
                                         T* __restrict exps,          // [n]
                                         T* __restrict softplus) {    // [n]
  for (int64_t i = 0; i < n; ++i) {
    const Objectness<T> obj = objectness(logits[i]);
    exps[i] = obj.exp;
    softplus[i] = obj.softplus;
  }
}

YOLOX_OPS_SIMD_LOOP(void, compute_objectness, (int64_t n, const T* logits, T* exps, T* softplus),
                    (n, logits, exps, softplus));

}  // namespace
}  // namespace yolox_ops
