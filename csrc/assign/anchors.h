// The anchors of a batch, and where the candidates of a ground truth lie among them.
#pragma once

#include <vector>

#include "assign/rule.h"
#include "core/guards.h"

namespace yolox_ops {

// Rows of anchors at x0 + column * stride, y0 + row * stride, stored row by row.
template <class T>
struct Level {
  int64_t first, width, height;
  T x0, y0, stride;
};

template <class T>
class Anchors {
 public:
  Anchors(const Tensor& points,   // [N, 2]
          const Tensor& strides,  // [N]
          const Rule& rule)
      : x(strides.size(0)), y(strides.size(0)), reach(strides.size(0)) {
    const Tensor dense_points = dense(points, kDtype<T>), dense_strides = dense(strides, kDtype<T>);
    const T* point = dense_points.const_data_ptr<T>();
    const T* stride = dense_strides.const_data_ptr<T>();
    for (size_t j = 0; j < x.size(); ++j) {
      x[j] = point[2 * j];
      y[j] = point[2 * j + 1];
      reach[j] = reach_of(stride[j], rule);
    }
    find_levels(stride);
  }

  // Calls visit(j, inside) for every candidate j of the ground truth, in ascending order.
  template <class Visit>
  void each_candidate(const Target<T>& gt, Candidates candidates, const Visit& visit) const {
    if (levels_.empty()) {
      each_in(0, static_cast<int64_t>(x.size()), gt, candidates, visit);
      return;
    }
    for (const Level<T>& level : levels_) {
      const T level_reach = reach[level.first];
      const auto [left, right] = window(gt.cx, gt.w, level.x0, level_reach, level.stride, level.width, candidates);
      const auto [top, bottom] = window(gt.cy, gt.h, level.y0, level_reach, level.stride, level.height, candidates);
      for (int64_t row = top; row < bottom; ++row) {
        const int64_t first = level.first + row * level.width;
        each_in(first + left, first + right, gt, candidates, visit);
      }
    }
  }

  std::vector<T> x, y, reach;  // [N]

 private:
  template <class Visit>
  void each_in(int64_t begin, int64_t end, const Target<T>& gt, Candidates candidates, const Visit& visit) const {
    for (int64_t j = begin; j < end; ++j) {
      const AnchorClass anchor = classify_anchor(x[j], y[j], reach[j], gt, candidates);
      if (anchor.candidate) visit(j, anchor.inside);
    }
  }

  // A range of cells that holds every candidate; wider than it need be, as classify_anchor decides in the end. Written
  // so that NaN and infinities end inside [0, cells].
  static std::pair<int64_t, int64_t> window(double center, double size, double origin, double reach, double stride,
                                            int64_t cells, Candidates candidates) {
    if (candidates == Candidates::kAll) return {0, cells};
    const double half = candidates == Candidates::kBoxOrCenter && size / 2 > reach ? size / 2 : reach;
    const double low = (center - half - origin) / stride - 1, high = (center + half - origin) / stride + 2;
    const auto cell = [cells](double position) {
      if (!(position > 0)) return int64_t{0};
      return position < static_cast<double>(cells) ? static_cast<int64_t>(position) : cells;
    };
    return {cell(low), cell(high)};
  }

  // Recognises the levels of a detector's grid. One anchor off the grid makes the whole set a general one.
  void find_levels(const T* strides) {  // [N]
    const int64_t n = static_cast<int64_t>(x.size());
    int64_t first = 0;
    while (first < n) {
      int64_t end = first, width = 0;
      while (end < n && strides[end] == strides[first]) ++end;
      while (first + width < end && y[first + width] == y[first]) ++width;
      Level<T> level{first, width, width ? (end - first) / width : 0, x[first], y[first], strides[first]};
      if (!is_grid(level, end)) {
        levels_.clear();
        return;
      }
      levels_.push_back(level);
      first = end;
    }
  }

  bool is_grid(const Level<T>& level, int64_t end) const {
    if (!(level.stride > T(0)) || level.width * level.height != end - level.first) return false;
    for (int64_t row = 0; row < level.height; ++row) {
      const int64_t row_first = level.first + row * level.width;
      const T row_y = level.y0 + static_cast<T>(row) * level.stride;
      int misplaced = 0;
      for (int64_t column = 0; column < level.width; ++column) {
        misplaced |= x[row_first + column] != level.x0 + static_cast<T>(column) * level.stride;
        misplaced |= y[row_first + column] != row_y;
      }
      if (misplaced) return false;
    }
    return true;
  }

  std::vector<Level<T>> levels_;
};

}  // namespace yolox_ops
