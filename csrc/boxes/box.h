// Box arithmetic, once for CPU and CUDA. T is float, double or a dual number (dual.h).
#pragma once

#include <limits>

#include "core/numeric.h"

namespace yolox_ops {

enum class Format { kXyxy, kXywh, kCxcywh };
enum class Kind { kIou, kGiou, kDiou, kCiou };

template <class T>
struct Box {
  T x1, y1, x2, y2;
  T area;   // NaN if any corner is, so that every IoU with the box is NaN
  T angle;  // atan2(width, height), set where CIoU needs it
};

// Whether none of a box's four numbers is NaN.
template <class T>
YOLOX_OPS_INLINE bool is_whole(T a, T b, T c, T d) {
  return (a == a) & (b == b) & (c == c) & (d == d);
}

// a, b, c, d are the box's four numbers in the order that `format` names.
template <class T>
YOLOX_OPS_INLINE Box<T> make_box(Format format, T a, T b, T c, T d) {
  Box<T> box{a, b, c, d, T(0), T(0)};
  if (format == Format::kXyxy) {
    box.area = (c - a) * (d - b);
  } else {
    box.area = c * d;
    if (format == Format::kXywh) {
      box.x2 = a + c;
      box.y2 = b + d;
    } else {
      const T half_w = c * T(0.5), half_h = d * T(0.5);
      box.x1 = a - half_w;
      box.y1 = b - half_h;
      box.x2 = a + half_w;
      box.y2 = b + half_h;
    }
  }
  box.area = choose(is_whole(box.x1, box.x2, box.y1, box.y2), box.area, (box.x1 + box.x2) + (box.y1 + box.y2));
  return box;
}

// Sets what only CIoU asks for; a scalar step, done once a box and not once a pair.
template <class T>
YOLOX_OPS_INLINE void set_angle(Box<T>& box) {
  box.angle = atan2_(box.x2 - box.x1, box.y2 - box.y1);
}

template <class T>
YOLOX_OPS_INLINE Box<T> load_box(const T* p,  // [4]
                                 Format format, Kind kind) {
  Box<T> box = make_box<T>(format, p[0], p[1], p[2], p[3]);
  if (kind == Kind::kCiou) set_angle(box);
  return box;
}

// The smallest box around two, without area. The hull of no box is empty. What is NaN in `a` does not count.
struct HullOf {
  template <class T>
  YOLOX_OPS_INLINE Box<T> operator()(const Box<T>& a, const Box<T>& b) const {
    return {smaller(a.x1, b.x1), smaller(a.y1, b.y1), larger(a.x2, b.x2), larger(a.y2, b.y2), T(0), T(0)};
  }
};
template <class T>
YOLOX_OPS_INLINE Box<T> empty_hull() {
  constexpr T inf = std::numeric_limits<T>::infinity();
  return {inf, inf, -inf, -inf, T(0), T(0)};
}

// Whether two boxes have more than an edge in common, by their corners alone. Without branches, so that loops over
// many boxes become vector code.
template <class T>
YOLOX_OPS_INLINE bool meets(const Box<T>& a, const Box<T>& b) {
  return (a.x1 < b.x2) & (b.x1 < a.x2) & (a.y1 < b.y2) & (b.y1 < a.y2);
}

// The area that two boxes have in common; `unite` receives that of both, NaN by a NaN in either. Of tiny boxes far from
// 0 the corners are rounded and the areas are not; that the union holds the intersection keeps IoU within 1.
template <class T>
YOLOX_OPS_INLINE T intersection(const Box<T>& a, const Box<T>& b, T& unite) {
  const T w = lower(a.x2, b.x2) - upper(a.x1, b.x1);
  const T h = lower(a.y2, b.y2) - upper(a.y1, b.y1);
  const T inter = choose(w > T(0), choose(h > T(0), w * h, T(0)), T(0));
  unite = larger(inter, (a.area + b.area) - inter);
  return inter;
}

// Intersection over union; `unite` receives the union. No overlap gives 0, a NaN in either box, by its area, NaN.
template <class T>
YOLOX_OPS_INLINE T iou(const Box<T>& a, const Box<T>& b, T& unite) {
  const T inter = intersection(a, b, unite);
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_floating_point_v<T>) return share_of(inter, unite);
#endif
  return ratio_or_zero(inter, unite);
}

template <class T>
YOLOX_OPS_INLINE T iou(const Box<T>& a, const Box<T>& b) {
  T unite;
  return iou(a, b, unite);
}

// GIoU: Rezatofighi et al. 2019, eq. 1. DIoU, CIoU: Zheng et al. 2020, eqs. 7 and 10-12. Division by 0 gives 0.
template <Kind kind, class T>
YOLOX_OPS_INLINE T similarity(const Box<T>& a, const Box<T>& b) {
  T unite;
  const T overlap = iou(a, b, unite);
  if constexpr (kind == Kind::kIou) return overlap;

  const T hull_w = upper(a.x2, b.x2) - lower(a.x1, b.x1);
  const T hull_h = upper(a.y2, b.y2) - lower(a.y1, b.y1);
  if constexpr (kind == Kind::kGiou) {
    const T hull = hull_w * hull_h;
    return overlap - ratio_or_zero(hull - unite, hull);
  }
  const T dx = (b.x1 + b.x2) - (a.x1 + a.x2);  // twice the distance of the centres
  const T dy = (b.y1 + b.y2) - (a.y1 + a.y2);
  const T diou = overlap - ratio_or_zero((dx * dx + dy * dy) * T(0.25), hull_w * hull_w + hull_h * hull_h);
  if constexpr (kind == Kind::kDiou) return diou;

  const T turn = b.angle - a.angle;
  const T v = turn * turn * T(0.40528473456935109);  // 4 / pi^2
  // The weight alpha counts as a constant in the gradient, as in the paper and in torchvision.
  const T alpha = detached(ratio_or_zero(v, (T(1) - overlap) + v));
  return diou - alpha * v;
}

// Calls f with the kind as a compile-time constant.
template <class F>
inline __attribute__((always_inline)) void dispatch_kind(Kind kind, const F& f) {
  switch (kind) {
    case Kind::kIou:
      return f.template operator()<Kind::kIou>();
    case Kind::kGiou:
      return f.template operator()<Kind::kGiou>();
    case Kind::kDiou:
      return f.template operator()<Kind::kDiou>();
    case Kind::kCiou:
      return f.template operator()<Kind::kCiou>();
  }
}

}  // namespace yolox_ops
