// Reads a tensor of any dtype through its strides, without a converted copy of the whole, on CPU and GPU.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <limits>
#include <type_traits>
#include <vector>

#include "core/guards.h"
#include "core/numeric.h"

namespace yolox_ops {

constexpr int64_t kCacheLine = 64;

// Values arrive as T: float or double from a float tensor, int64_t from an integer tensor, of whose uint64 what is
// larger is the largest int64_t.
template <class T>
class Reader {
 public:
  Reader() = default;
  explicit Reader(const Tensor& t) : data_(t.const_data_ptr()), dtype_(t.scalar_type()), size_(t.element_size()) {
    is_unsigned_ = dtype_ == ScalarType::Byte || dtype_ == ScalarType::UInt16 || dtype_ == ScalarType::UInt32 ||
                   dtype_ == ScalarType::UInt64;
    for (int64_t i = 0; i < t.dim(); ++i) strides_[i] = t.stride(i);
  }

  // Element (i, j, k) of a tensor of three dimensions; leave out what a tensor of fewer does not have.
  YOLOX_OPS_INLINE T at(int64_t i, int64_t j = 0, int64_t k = 0) const {
    T value;
    copy(offset(i, j, k), 0, 1, &value);
    return value;
  }

  // Elements (i, j, ...).
  YOLOX_OPS_INLINE Reader row(int64_t i, int64_t j) const {
    Reader row = *this;
    row.data_ = static_cast<const char*>(data_) + offset(i, j, 0) * size_;
    row.strides_[0] = strides_[2];
    return row;
  }

  // Elements (i, j, 0 .. n - 1), where they lie if that is possible, else copied into `scratch`.
  const T* read_row(int64_t i, int64_t j, int64_t n, std::vector<T>& scratch) const {
    if (dtype_ == kDtype<T> && strides_[2] == 1) return static_cast<const T*>(data_) + offset(i, j, 0);
    scratch.resize(n);
    copy(offset(i, j, 0), strides_[2], n, scratch.data());
    return scratch.data();
  }

  // Asks for elements (i, j, 0 .. n - 1) of an inner dimension that is dense, to be read soon.
  void prefetch(int64_t i, int64_t j, int64_t n) const {
    const char* row = static_cast<const char*>(data_) + offset(i, j, 0) * size_;
    for (int64_t byte = 0; byte < n * size_; byte += kCacheLine) __builtin_prefetch(row + byte);
  }

  // Elements (i, rows[0 .. n - 1], k).
  void gather(int64_t i,
              const int32_t* rows,  // [n]
              int64_t n, int64_t k,
              T* to) const {    // [n]
    if (dtype_ == kDtype<T>) {  // asked once and not for every element
      const T* data = static_cast<const T*>(data_) + offset(i, 0, k);
      for (int64_t r = 0; r < n; ++r) to[r] = data[rows[r] * strides_[1]];
    } else {
      for (int64_t r = 0; r < n; ++r) to[r] = at(i, rows[r], k);
    }
  }

 private:
  YOLOX_OPS_INLINE int64_t offset(int64_t i, int64_t j, int64_t k) const {
    return i * strides_[0] + j * strides_[1] + k * strides_[2];
  }

  template <class S>
  YOLOX_OPS_INLINE void copy_as(int64_t from, int64_t stride, int64_t n, T* to) const {
    const S* data = static_cast<const S*>(data_) + from;
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(data[i * stride]);
  }

  // By the width, of which there are half as many as dtypes.
  YOLOX_OPS_INLINE int64_t integer_at(int64_t from) const {
    const uint64_t bits = size_ == 8   ? static_cast<const uint64_t*>(data_)[from]
                          : size_ == 4 ? static_cast<const uint32_t*>(data_)[from]
                          : size_ == 2 ? static_cast<const uint16_t*>(data_)[from]
                                       : static_cast<const uint8_t*>(data_)[from];
    const int64_t above = 64 - 8 * size_, signed_value = static_cast<int64_t>(bits << above) >> above;
    constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
    return is_unsigned_ ? static_cast<int64_t>(bits < kMost ? bits : kMost) : signed_value;
  }

  YOLOX_OPS_INLINE void copy(int64_t from, int64_t stride, int64_t n, T* to) const {
    if constexpr (std::is_integral_v<T>) {
      for (int64_t i = 0; i < n; ++i) to[i] = integer_at(from + i * stride);
    } else {
      switch (dtype_) {
        case ScalarType::Double:
          return copy_as<double>(from, stride, n, to);
        case ScalarType::Half:
          return copy_as<torch::headeronly::Half>(from, stride, n, to);
        case ScalarType::BFloat16:
          return copy_as<torch::headeronly::BFloat16>(from, stride, n, to);
        default:
          return copy_as<float>(from, stride, n, to);
      }
    }
  }

  const void* data_ = nullptr;
  ScalarType dtype_ = kDtype<T>;
  int64_t strides_[3] = {}, size_ = 0;
  bool is_unsigned_ = false;
};

// The same of a tensor that stores `Stored`, so that nothing is asked of the dtype where an element is read.
template <class T, class Stored>
class TypedReader {
 public:
  TypedReader() = default;
  explicit TypedReader(const Tensor& t) : data_(static_cast<const Stored*>(t.const_data_ptr())) {
    for (int64_t i = 0; i < t.dim(); ++i) strides_[i] = t.stride(i);
  }

  YOLOX_OPS_INLINE T at(int64_t i, int64_t j = 0, int64_t k = 0) const {
    return static_cast<T>(data_[i * strides_[0] + j * strides_[1] + k * strides_[2]]);
  }

 private:
  const Stored* data_ = nullptr;
  int64_t strides_[3] = {};
};

// The same of a tensor of three dimensions whose last is dense.
template <class Stored>
class DenseReader {
 public:
  struct Row {
    const Stored* data;  // [n]
    YOLOX_OPS_INLINE Stored at(int32_t k) const { return data[k]; }
  };

  static bool suits(const Tensor& t) { return t.scalar_type() == kDtype<Stored> && t.stride(2) == 1; }

  explicit DenseReader(const Tensor& t)
      : data_(static_cast<const Stored*>(t.const_data_ptr())), strides_{t.stride(0), t.stride(1)} {}

  YOLOX_OPS_INLINE Row row(int64_t i, int64_t j) const { return {data_ + i * strides_[0] + j * strides_[1]}; }
  YOLOX_OPS_INLINE Stored at(int64_t i, int64_t j, int64_t k) const { return row(i, j).data[k]; }

 private:
  const Stored* data_;
  int64_t strides_[2];
};

}  // namespace yolox_ops
