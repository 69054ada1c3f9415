// Many boxes as one array per member, which loops read as vectors.
#pragma once

#include <cstdint>
#include <memory>

#include "boxes/box.h"

namespace yolox_ops {

// Where the members of n boxes lie, [n] each.
template <class T>
struct BoxView {
  const T* __restrict x1, * __restrict y1, * __restrict x2, * __restrict y2, * __restrict area, * __restrict angle;

  YOLOX_OPS_INLINE Box<T> operator[](int64_t i) const { return {x1[i], y1[i], x2[i], y2[i], area[i], angle[i]}; }
};

// The same of boxes as they are given, by centre and size.
template <class T>
struct CentreView {
  const T* __restrict cx, * __restrict cy, * __restrict w, * __restrict h;

  YOLOX_OPS_INLINE Box<T> operator[](int64_t i) const {
    const T box[4] = {cx[i], cy[i], w[i], h[i]};
    return load_box(box, Format::kCxcywh, Kind::kIou);
  }
};

// The IoUs of `gt` with n boxes, which are one of these views.
template <class T, class Boxes>
YOLOX_OPS_INLINE void compute_overlaps(const Box<T> gt, const Boxes boxes, int64_t n,
                                       T* __restrict out) {  // [n]
  for (int64_t i = 0; i < n; ++i) out[i] = iou(gt, boxes[i]);
}

template <class T>
class BoxArrays {
 public:
  BoxArrays() = default;
  explicit BoxArrays(int64_t n) { resize(n); }

  // All boxes are to be set anew.
  void resize(int64_t n) {
    if (n > room_) {
      data_ = std::make_unique_for_overwrite<T[]>(6 * n);
      room_ = n;
    }
    n_ = n;
  }

  int64_t size() const { return n_; }

  void set(int64_t i, const Box<T>& box) {
    const T members[6] = {box.x1, box.y1, box.x2, box.y2, box.area, box.angle};
    for (int m = 0; m < 6; ++m) data_[m * n_ + i] = members[m];
  }

  // Of the boxes from `first` on.
  BoxView<T> view(int64_t first = 0) const {
    const T* p = data_.get() + first;
    return {p, p + n_, p + 2 * n_, p + 3 * n_, p + 4 * n_, p + 5 * n_};
  }

 private:
  int64_t n_ = 0, room_ = 0;
  std::unique_ptr<T[]> data_;
};

}  // namespace yolox_ops
