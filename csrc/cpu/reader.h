// Reading a tensor of any float dtype through its strides, without a converted copy of the whole.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "../common.h"

namespace yolox_ops {

// Values arrive as T, float or double.
template <class T>
class Reader {
 public:
  explicit Reader(const Tensor& t) : data_(t.const_data_ptr()), dtype_(t.scalar_type()) {
    for (int64_t i = 0; i < t.dim(); ++i) strides_[i] = t.stride(i);
  }

  // Element (i, j, k) of a tensor of three dimensions; leave out the last of one with two.
  T at(int64_t i, int64_t j, int64_t k = 0) const {
    T value;
    copy(offset(i, j, k), 0, 1, &value);
    return value;
  }

  // Elements (i, j, 0 .. n - 1), where they lie if that is possible, else copied into `scratch`.
  const T* row(int64_t i, int64_t j, int64_t n, std::vector<T>& scratch) const {
    if (dtype_ == kDtype<T> && strides_[2] == 1) return static_cast<const T*>(data_) + offset(i, j, 0);
    scratch.resize(n);
    copy(offset(i, j, 0), strides_[2], n, scratch.data());
    return scratch.data();
  }

 private:
  int64_t offset(int64_t i, int64_t j, int64_t k) const { return i * strides_[0] + j * strides_[1] + k * strides_[2]; }

  void copy(int64_t from, int64_t stride, int64_t n, T* to) const {
    const auto copy_as = [&]<class S>(const S* data) {
      for (int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(data[from + i * stride]);
    };
    switch (dtype_) {
      case ScalarType::Double:
        return copy_as(static_cast<const double*>(data_));
      case ScalarType::Half:
        return copy_as(static_cast<const torch::headeronly::Half*>(data_));
      case ScalarType::BFloat16:
        return copy_as(static_cast<const torch::headeronly::BFloat16*>(data_));
      default:
        return copy_as(static_cast<const float*>(data_));
    }
  }

  const void* data_;
  ScalarType dtype_;
  int64_t strides_[3] = {};
};

// The real ground truths of each of B images, of G rows; rows past them are padding.
inline std::vector<int64_t> read_counts(const std::optional<Tensor>& num_gts, int64_t B, int64_t G) {
  std::vector<int64_t> counts(B, G);
  if (!num_gts) return counts;
  check_shape(*num_gts, "num_gts", "[B]", {B});
  check_integer(*num_gts, "num_gts");
  std::copy_n(dense(*num_gts, ScalarType::Long).const_data_ptr<int64_t>(), B, counts.begin());
  for (int64_t b = 0; b < B; ++b) {
    check(counts[b] >= 0 && counts[b] <= G, "num_gts must be in [0, ", G, "], got ", counts[b], " at image ", b);
  }
  return counts;
}

}  // namespace yolox_ops
