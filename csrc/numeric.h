// Scalar arithmetic for CPU loops (which the compiler vectorises), CUDA threads and dual numbers (dual.h) alike.
// Choices are nested conditionals without side effects: that is what turns into vector selects.
#pragma once

#include <cmath>

#if defined(__CUDACC__)
#define YOLOX_OPS_INLINE __host__ __device__ __forceinline__
#else
#define YOLOX_OPS_INLINE inline __attribute__((always_inline))
#endif

namespace yolox_ops {

template <class T>
YOLOX_OPS_INLINE T larger(T a, T b) {
  return a > b ? a : b;
}

template <class T>
YOLOX_OPS_INLINE T smaller(T a, T b) {
  return a < b ? a : b;
}

// a / b, but 0 for 0 / 0, which is what two empty boxes at one place give.
template <class T>
YOLOX_OPS_INLINE T ratio_or_zero(T a, T b) {
  const T quotient = a / b;
  return b == T(0) ? (a == T(0) ? T(0) : quotient) : quotient;
}

YOLOX_OPS_INLINE float atan2_(float y, float x) { return ::atan2f(y, x); }
YOLOX_OPS_INLINE double atan2_(double y, double x) { return ::atan2(y, x); }

// The value without its derivative; a dual number (dual.h) is the only one that has any.
template <class T>
YOLOX_OPS_INLINE T detached(T a) {
  return a;
}

}  // namespace yolox_ops
