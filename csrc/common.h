// What every torch kernel file shares: guards, the names of formats and kinds, and reads of any float dtype.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <sstream>
#include <stdexcept>
#include <string>

#include "box.h"

namespace yolox_ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// A failed check is a ValueError in Python: torch's bindings translate std::invalid_argument so.
template <class... Words>
void check(bool holds, const Words&... words) {
  if (holds) return;
  std::ostringstream message;
  (message << ... << words);
  throw std::invalid_argument(message.str());
}

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
  int64_t i = 0;
  for (int64_t size : sizes) fits = fits && (size < 0 || t.size(i) == size), ++i;
  check(fits, name, " must be ", shape, ", got ", shape_text(t));
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
                    dtype == ScalarType::Char || dtype == ScalarType::Byte;
  check(fits, name, " must be an integer tensor");
}

inline void check_between(double value, const char* name, double low, double high) {
  check(value >= low && value <= high, name, " must be in [", low, ", ", high, "], got ", value);
}

inline bool is_float64(const Tensor& t) { return t.scalar_type() == ScalarType::Double; }

// The dtype that arithmetic runs in: float64 if an input is float64, else float32.
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
  return torch::stable::contiguous(t.scalar_type() == dtype ? t : torch::stable::to(t, dtype));
}

inline Format parse_format(const std::string& fmt) {
  if (fmt == "xyxy") return Format::kXyxy;
  if (fmt == "xywh") return Format::kXywh;
  check(fmt == "cxcywh", "fmt must be 'xyxy', 'xywh' or 'cxcywh', got '", fmt, "'");
  return Format::kCxcywh;
}

inline Kind parse_kind(const std::string& kind) {
  if (kind == "iou") return Kind::kIou;
  if (kind == "giou") return Kind::kGiou;
  if (kind == "diou") return Kind::kDiou;
  check(kind == "ciou", "kind must be 'iou', 'giou', 'diou' or 'ciou', got '", kind, "'");
  return Kind::kCiou;
}

template <class T>
YOLOX_OPS_INLINE Box<T> load_box(const T* p, Format format, Kind kind) {
  Box<T> box = make_box<T>(format, p[0], p[1], p[2], p[3]);
  if (kind == Kind::kCiou) set_angle(box);
  return box;
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
