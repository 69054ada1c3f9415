// Soft-NMS's options and arithmetic, once for CPU and CUDA.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "boxes/formats.h"
#include "core/numeric.h"

namespace yolox_ops {

enum class Method { kHard, kLinear, kGaussian, kMeanGaussian };

inline Method parse_method(const std::string& method) {
  if (method == "hard") return Method::kHard;
  if (method == "linear") return Method::kLinear;
  if (method == "gaussian") return Method::kGaussian;
  check(method == "mean_gaussian", "method must be 'hard', 'linear', 'gaussian' or 'mean_gaussian', got '", method,
        "'");
  return Method::kMeanGaussian;
}

template <class T>
struct NmsRule {
  Method method;
  T sigma, iou_threshold, score_threshold;

  // A selected box lowers the scores of those whose IoU with it exceeds this.
  YOLOX_OPS_INLINE T limit() const { return method == Method::kGaussian ? T(0) : iou_threshold; }

  // What `weight` takes beside the overlap; `mean` is the mean of the scores that remain.
  YOLOX_OPS_INLINE T scale(T mean) const {
    const T width = method == Method::kGaussian ? sigma : mean;
    // A mean that is not positive lowers nothing; the quotient of a tiny width stays finite.
    return width > T(0) ? T(-1) / larger(width, std::numeric_limits<T>::min()) : T(0);
  }
};

// What a caller asks for, but for the boxes.
struct NmsOptions {
  NmsOptions(const std::string& fmt, const std::string& method_, double sigma_, double iou_threshold_,
             double score_threshold_, int64_t max_detections_, bool inclusive_)
      : format(parse_format(fmt)),
        method(parse_method(method_)),
        sigma(sigma_),
        iou_threshold(iou_threshold_),
        score_threshold(score_threshold_),
        max_detections(max_detections_),
        inclusive(inclusive_) {
    check(max_detections >= -1, "max_detections must be at least 0, or -1 for all, got ", max_detections);
  }

  template <class T>
  NmsRule<T> rule() const {
    return {method, narrow<T>(sigma), limit<T>(), floor<T>()};
  }

  // What an IoU must exceed. A pair that does not overlap never decays, which a negative threshold, or one of 0 that is
  // inclusive, would ask for.
  template <class T>
  T limit() const {
    const T nearest = static_cast<T>(iou_threshold);
    return std::max(inclusive ? std::nextafter(nearest, -std::numeric_limits<T>::infinity()) : nearest, T(0));
  }

  // What a score must reach. Where T has no number near the threshold, it is the next one that reaches it.
  template <class T>
  T floor() const {
    const T nearest = static_cast<T>(score_threshold);
    const bool far = nearest == T(0) || std::isinf(nearest);
    return far && nearest < score_threshold ? std::nextafter(nearest, std::numeric_limits<T>::infinity()) : nearest;
  }

  // At most how many of an image's `boxes` are selected.
  int64_t most(int64_t boxes) const {
    check(boxes < std::numeric_limits<int32_t>::max(), "boxes must be fewer than 2^31 an image, got ", boxes);
    return max_detections < 0 ? boxes : std::min(max_detections, boxes);
  }

  Format format;
  Method method;
  double sigma, iou_threshold, score_threshold;
  int64_t max_detections;
  bool inclusive;  // acts where the IoU equals iou_threshold, too
};

// What a score is multiplied by. Hard NMS makes it NaN, which reaches no threshold.
template <Method method, class T>
YOLOX_OPS_INLINE T weight(T overlap, T scale) {
  if constexpr (method == Method::kHard) return std::numeric_limits<T>::quiet_NaN();
  if constexpr (method == Method::kLinear) return T(1) - overlap;
  return exp_scaled(overlap * overlap * scale, 0);
}

}  // namespace yolox_ops
