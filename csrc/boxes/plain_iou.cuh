// IoU of float32 boxes of usual sizes, without what division has for numbers that are very small, very large or not
// numbers. The result is that of box.h to the bit.
#pragma once

#include "boxes/box.h"

namespace yolox_ops {
namespace {

// A number whose differences to its like are 0 or at least 2^-37, and no more than 2^21.
template <class T>
__device__ __forceinline__ bool is_plain(T x) {
  const T size = x < T(0) ? -x : x;
  return size == T(0) || (size >= T(0x1p-14) && size <= T(0x1p20));
}

// A box whose intersections and unions with its like lie between 2^-74 and 2^44 or are an intersection of 0, so that no
// step of their division leaves the range of normal numbers.
template <class T>
__device__ __forceinline__ bool is_plain(const Box<T>& box) {
  return is_plain(box.x1) && is_plain(box.y1) && is_plain(box.x2) && is_plain(box.y2) && box.area >= T(0x1p-74) &&
         box.area <= T(0x1p42);
}

// a / b rounded as IEEE asks, in the steps that nvcc's division takes where nothing is out of range.
__device__ __forceinline__ float plain_quotient(float a, float b) {
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(b));
  inverse = __fmaf_rn(inverse, __fmaf_rn(-b, inverse, 1.0f), inverse);
  float quotient = a * inverse;
  quotient = __fmaf_rn(inverse, __fmaf_rn(-b, quotient, a), quotient);
  return __fmaf_rn(inverse, __fmaf_rn(-b, quotient, a), quotient);
}

// iou of plain boxes.
__device__ __forceinline__ float plain_iou(const Box<float>& a, const Box<float>& b) {
  const float w = lower(a.x2, b.x2) - upper(a.x1, b.x1);
  const float h = lower(a.y2, b.y2) - upper(a.y1, b.y1);
  const float inter = upper(w, 0.0f) * upper(h, 0.0f);
  return plain_quotient(inter, upper(inter, (a.area + b.area) - inter));
}

}  // namespace
}  // namespace yolox_ops
