// An order of boxes in which neighbours in the image stand together.
#pragma once

#include <limits>

#include "boxes/box.h"

namespace yolox_ops {

// False for boxes that have IoU 0 with everything: empty, negative, with a NaN, of infinite area.
template <class T>
YOLOX_OPS_INLINE bool can_overlap(const Box<T>& box) {
  return box.x1 < box.x2 && box.y1 < box.y2 && box.area < std::numeric_limits<T>::infinity();
}

// x as one of `cells` equal parts of [low, high]; whatever x, low and high are.
template <class T>
YOLOX_OPS_INLINE int64_t cell_of(T x, T low, T high, int64_t cells) {
  const T position = (x - low) * (static_cast<T>(cells) / (high - low));
  return position > T(0) ? (position < static_cast<T>(cells) ? static_cast<int64_t>(position) : cells - 1) : 0;
}

// Where a box comes in an order in which `per_cell` in a row lie in about a square: up one strip of the image and down
// the next. `span` holds the boxes' centres, doubled; boxes that overlap nothing come last.
template <class T>
struct SpatialOrder {
  Box<T> span;
  int64_t strips, rows;

  YOLOX_OPS_INLINE SpatialOrder(const Box<T>& span_, int64_t boxes, int64_t per_cell)
      : span(span_),
        strips(static_cast<int64_t>(sqrt_(static_cast<double>(boxes) / static_cast<double>(per_cell))) + 1),
        rows(strips * per_cell) {}

  YOLOX_OPS_INLINE int64_t operator()(const Box<T>& box) const {
    if (!can_overlap(box)) return strips * rows;
    const int64_t strip = cell_of(box.x1 + box.x2, span.x1, span.x2, strips);
    const int64_t row = cell_of(box.y1 + box.y2, span.y1, span.y2, rows);
    return strip * rows + (strip % 2 ? rows - 1 - row : row);
  }
};

// A hull of doubled centres, for SpatialOrder, and one box more.
template <class T>
YOLOX_OPS_INLINE Box<T> span_of(const Box<T>& span, const Box<T>& box) {
  const T x = box.x1 + box.x2, y = box.y1 + box.y2;
  return can_overlap(box) ? HullOf()(span, Box<T>{x, y, x, y, T(0), T(0)}) : span;
}

}  // namespace yolox_ops
