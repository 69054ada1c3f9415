// The two sets of boxes that pairwise_iou and aligned_iou compare, checked and made dense; the same on every device.
#pragma once

#include "boxes/formats.h"
#include "core/guards.h"

namespace yolox_ops {

struct BoxSets {
  Tensor boxes1, boxes2;  // dense, in the dtype of the arithmetic
  Format format;
  Kind kind;
  ScalarType dtype;
};

inline BoxSets dense_sets(const Tensor& boxes1,  // [..., 4]
                          const Tensor& boxes2,  // [..., 4]
                          const std::string& fmt, const std::string& kind) {
  check_floating(boxes1, "boxes1");
  check_floating(boxes2, "boxes2");
  check_same_device(boxes2, "boxes2", boxes1, "boxes1");
  const Format format = parse_format(fmt);
  const Kind measure = parse_kind(kind);
  const ScalarType dtype = compute_dtype(boxes1, boxes2);
  return {dense(boxes1, dtype), dense(boxes2, dtype), format, measure, dtype};
}

inline BoxSets pairwise_sets(const Tensor& boxes1,  // [B, M, 4]
                             const Tensor& boxes2,  // [B, N, 4]
                             const std::string& fmt, const std::string& kind) {
  check_shape(boxes1, "boxes1", "[B, M, 4]", {-1, -1, 4});
  check_shape(boxes2, "boxes2", "[B, N, 4]", {boxes1.size(0), -1, 4});
  return dense_sets(boxes1, boxes2, fmt, kind);
}

inline BoxSets aligned_sets(const Tensor& boxes1,  // [N, 4]
                            const Tensor& boxes2,  // [N, 4]
                            const std::string& fmt, const std::string& kind) {
  check_shape(boxes1, "boxes1", "[N, 4]", {-1, 4});
  check_shape(boxes2, "boxes2", "[N, 4]", {boxes1.size(0), 4});
  return dense_sets(boxes1, boxes2, fmt, kind);
}

// Of a gradient [B, M, N]: by the image, by the box that is differentiated, by the others.
struct Strides {
  int64_t image_stride, box_stride, other_stride;
};

// `shape` is the shape of the result that the gradient comes for.
inline void check_gradient(const Tensor& grad,  // [N] or [B, M, N]
                           const BoxSets& sets, const char* shape, std::initializer_list<int64_t> sizes) {
  check_shape(grad, "grad", shape, sizes);
  check_same_device(grad, "grad", sets.boxes1, "boxes1");
  check(grad.scalar_type() == sets.dtype, "grad must have the dtype of the result");
}

}  // namespace yolox_ops
