// Checks of tensors and of their dtypes, for every file of kernels on tensors.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <sstream>
#include <string>

#include "core/errors.h"

namespace yolox_ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline std::string shape_text(const Tensor& t) {
  std::ostringstream text;
  text << "[";
  for (int64_t i = 0; i < t.dim(); ++i) text << (i ? ", " : "") << t.size(i);
  text << "]";
  return text.str();
}

// `shape` is how the docstring writes it, as in "[B, N, 4]"; a negative size fits any.
inline void check_shape(const Tensor& t, const char* name, const char* shape, std::initializer_list<int64_t> sizes) {
  bool fits = t.dim() == static_cast<int64_t>(sizes.size());
  const int64_t* size = sizes.begin();
  for (int64_t i = 0; fits && i < t.dim(); ++i) fits = size[i] < 0 || t.size(i) == size[i];
  if (!fits) check(false, name, " must be ", shape, ", got ", shape_text(t));  // a text takes microseconds
}

inline void check_same_device(const Tensor& t, const char* name, const Tensor& first, const char* first_name) {
  check(t.device() == first.device(), name, " must be on the device of ", first_name);
}

inline void check_floating(const Tensor& t, const char* name) {
  const ScalarType dtype = t.scalar_type();
  const bool fits = dtype == ScalarType::Float || dtype == ScalarType::Double || dtype == ScalarType::Half ||
                    dtype == ScalarType::BFloat16;
  check(fits, name, " must be float32, float64, float16 or bfloat16");
}

inline void check_integer(const Tensor& t, const char* name) {
  const ScalarType dtype = t.scalar_type();
  const bool fits = dtype == ScalarType::Long || dtype == ScalarType::Int || dtype == ScalarType::Short ||
                    dtype == ScalarType::Char || dtype == ScalarType::Byte || dtype == ScalarType::UInt16 ||
                    dtype == ScalarType::UInt32 || dtype == ScalarType::UInt64;
  check(fits, name, " must be an integer tensor");
}

// An integer of a tensor that was read as int64, where what only uint64 holds is negative; a message tells it as it is.
struct IntegerRead {
  int64_t value;
  ScalarType dtype;

  friend std::ostream& operator<<(std::ostream& out, const IntegerRead& read) {
    if (read.dtype == ScalarType::UInt64) return out << static_cast<uint64_t>(read.value);
    return out << read.value;
  }
};

inline bool is_float64(const Tensor& t) { return t.scalar_type() == ScalarType::Double; }

// The dtype that arithmetic runs in: float64 if an input is float64, else float32.
inline ScalarType compute_dtype(const Tensor& t) { return is_float64(t) ? ScalarType::Double : ScalarType::Float; }
inline ScalarType compute_dtype(const Tensor& a, const Tensor& b) {
  return is_float64(a) || is_float64(b) ? ScalarType::Double : ScalarType::Float;
}

template <class T>
constexpr ScalarType kDtype = sizeof(T) == 8 ? ScalarType::Double : ScalarType::Float;

// Calls f with double or float as its type argument.
template <class F>
inline void dispatch_dtype(ScalarType dtype, const F& f) {
  dtype == ScalarType::Double ? f.template operator()<double>() : f.template operator()<float>();
}

// The tensor in a dtype and row-major, itself if it already is.
inline Tensor dense(const Tensor& t, ScalarType dtype) {
  const Tensor typed = t.scalar_type() == dtype ? t : torch::stable::to(t, dtype);
  return typed.is_contiguous() ? typed : torch::stable::contiguous(typed);  // each call to torch takes a microsecond
}

}  // namespace yolox_ops
