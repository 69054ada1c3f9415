// Scalar arithmetic for CPU loops (which the compiler vectorises), CUDA threads and dual numbers (boxes/dual.h) alike.
// Choices are nested conditionals without side effects: that is what turns into vector selects.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#if defined(__CUDACC__)
#define YOLOX_OPS_INLINE __host__ __device__ __forceinline__
#else
#define YOLOX_OPS_INLINE inline __attribute__((always_inline))
#endif

namespace yolox_ops {

template <class T>
YOLOX_OPS_INLINE T choose(bool first, T a, T b) {
  return first ? a : b;
}

template <class T>
YOLOX_OPS_INLINE T larger(T a, T b) {
  return choose(a > b, a, b);
}

template <class T>
YOLOX_OPS_INLINE T smaller(T a, T b) {
  return choose(a < b, a, b);
}

// An option in the arithmetic's type. One that is not 0 does not become 0, and a finite one stays finite.
template <class T>
YOLOX_OPS_INLINE T narrow(double value) {
  const T most = std::numeric_limits<T>::max(), least = std::numeric_limits<T>::denorm_min();
  const T nearest = static_cast<T>(value);
  if (nearest == T(0) && value != 0) return value < 0 ? -least : least;
  if (nearest - nearest != T(0) && value - value == 0) return value < 0 ? -most : most;
  return nearest;
}

// The same where it does not matter what becomes of a NaN, which a GPU does in one instruction.
template <class T>
YOLOX_OPS_INLINE T upper(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_floating_point_v<T>) return ::max(a, b);
#endif
  return larger(a, b);
}

template <class T>
YOLOX_OPS_INLINE T lower(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_floating_point_v<T>) return ::min(a, b);
#endif
  return smaller(a, b);
}

// Limited from above and from below; a NaN stays one. A GPU from sm_80 on does each in one instruction.
template <class T>
YOLOX_OPS_INLINE T at_most(T a, T most) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, float>) {
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(a) : "f"(a), "f"(most));
    return a;
  }
#endif
  return a > most ? most : a;
}
template <class T>
YOLOX_OPS_INLINE T at_least(T a, T least) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, float>) {
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(a) : "f"(a), "f"(least));
    return a;
  }
#endif
  return a < least ? least : a;
}

// The larger, or NaN if either is.
template <class T>
YOLOX_OPS_INLINE T larger_or_nan(T a, T b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, float>) {
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(a) : "f"(a), "f"(b));
    return a;
  }
#endif
  return (a > b) | (a != a) ? a : b;
}

template <class T>
YOLOX_OPS_INLINE bool is_finite(T x) {
  return x - x == T(0);
}

template <class T>
YOLOX_OPS_INLINE T zero_if_nan(T x) {
  return choose(x == x, x, T(0));
}

// a / b, but 0 where b is 0, as it is for two empty boxes in the same spot.
template <class T>
YOLOX_OPS_INLINE T ratio_or_zero(T a, T b) {
  return choose(b == T(0), T(0), a / b);
}

// ratio_or_zero of what is at least 0 and a whole that it is a part of, for GPUs: there IEEE's division is the longest
// step, and longest for a dividend of 0, which most pairs of boxes have. It is left out. A CPU's vectors divide all
// alike.
template <class T>
YOLOX_OPS_INLINE T share_of(T part, T whole) {
  if (part > T(0)) return part / whole;
  return whole == whole ? T(0) : whole;
}

// Of the smaller leg over the larger, or, past pi / 8, of that angle's distance from pi / 4, by an odd polynomial that
// is good to 2e-8; then by symmetry. Two infinite legs give NaN; a NaN is the caller's to know of.
YOLOX_OPS_INLINE float atan2_(float y, float x) {
  const float high = larger(::fabsf(x), ::fabsf(y)), low = smaller(::fabsf(x), ::fabsf(y));
  const bool steep = low > high * 0.414213562f;
  const float t = ratio_or_zero(steep ? low - high : low, steep ? low + high : high), t2 = t * t;
  float p = 0.0806030844f;
  p = p * t2 - 0.138798498f;
  p = p * t2 + 0.199779261f;
  p = p * t2 - 0.333329553f;
  const float octant = (steep ? 0.785398163f : 0.0f) + (t + t * t2 * p);
  const float quadrant = ::fabsf(y) > ::fabsf(x) ? 1.57079633f - octant : octant;
  return ::copysignf(::copysignf(1.0f, x) < 0.0f ? 3.14159265f - quadrant : quadrant, y);
}
YOLOX_OPS_INLINE double atan2_(double y, double x) { return ::atan2(y, x); }

// The value without its derivative; a dual number (boxes/dual.h) is the only one that has any.
template <class T>
YOLOX_OPS_INLINE T detached(T a) {
  return a;
}

// e^x 2^k. The exact factor lifts results that float32 could not hold. What is still too small is 0, what is
// still too large the largest that fits. Taylor's series to degree 7 on |x| <= ln(2) / 2 is good to 5e-9.
YOLOX_OPS_INLINE float exp_scaled(float x, int k) {
  const float lowest = -0.693147f * static_cast<float>(127 + k);  // there the exponent is 0, and so is the result
  const float highest = 0.693147f * static_cast<float>(125 - k);
  x = at_least(at_most(x, highest), lowest);
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const float shifted = x * 1.44269504f + magic;
  const uint32_t n = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(magic);
  const float whole = shifted - magic;
  const float r = (x - whole * 0.693145752f) - whole * 1.42860677e-6f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return p * std::bit_cast<float>((n + static_cast<uint32_t>(k) + 127u) << 23);
}
YOLOX_OPS_INLINE double exp_scaled(double x, int k) {
  return ::exp(x > 300.0 ? 300.0 : x) * static_cast<double>(int64_t{1} << k);
}

// x = m 2^e with m in [sqrt(1/2), sqrt(2)); x must be positive and normal. `exponent` is e where a number has it, so
// that of two the difference costs one shift; exponent_of gives it as a number.
YOLOX_OPS_INLINE float split(float x, uint32_t& exponent) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  exponent = (bits - 0x3f3504f3u) & 0xff800000u;
  return std::bit_cast<float>(bits - exponent);
}
YOLOX_OPS_INLINE double split(double x, uint64_t& exponent) {
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  exponent = (bits - 0x3fe6a09e667f3bcdull) & 0xfff0000000000000ull;
  return std::bit_cast<double>(bits - exponent);
}
YOLOX_OPS_INLINE int32_t exponent_of(uint32_t bits) { return static_cast<int32_t>(bits) >> 23; }
YOLOX_OPS_INLINE int32_t exponent_of(uint64_t bits) { return static_cast<int32_t>(static_cast<int64_t>(bits) >> 52); }
template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

// log(x 2^k) for a positive normal x; NaN stays NaN. The series of 2 atanh((m - 1) / (m + 1)) is good to 1e-9.
YOLOX_OPS_INLINE float log_scaled(float x, int k) {
  uint32_t bits;
  const float m = split(x, bits);
  const float t = (m - 1.0f) / (m + 1.0f), t2 = t * t;
  float p = 2.0f / 9;
  p = p * t2 + 2.0f / 7;
  p = p * t2 + 2.0f / 5;
  p = p * t2 + 2.0f / 3;
  p = p * t2 + 2.0f;
  const float exponent = static_cast<float>(exponent_of(bits) + k);
  const float log = exponent * 0.693145752f + (p * t + exponent * 1.42860677e-6f);
  return x == x ? log : x;
}
YOLOX_OPS_INLINE double log_scaled(double x, int k) { return ::log(x) + k * 0.693147180559945309; }

YOLOX_OPS_INLINE float sqrt_(float x) { return ::sqrtf(x); }
YOLOX_OPS_INLINE double sqrt_(double x) { return ::sqrt(x); }
// To the nearest integer, half to even.
YOLOX_OPS_INLINE float rint_(float x) { return ::rintf(x); }
YOLOX_OPS_INLINE double rint_(double x) { return ::rint(x); }

}  // namespace yolox_ops
