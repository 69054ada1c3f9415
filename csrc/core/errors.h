// Guards, and what formats, kinds and methods are called: all that a kernel asks of its arguments beside tensors.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "boxes/box.h"

namespace yolox_ops {

// A failed check is a ValueError in Python: torch's bindings and pybind11 translate std::invalid_argument so.
template <class... Words>
void check(bool holds, const Words&... words) {
  if (holds) return;
  std::ostringstream message;
  (message << ... << words);
  throw std::invalid_argument(message.str());
}

inline void check_between(double value, const char* name, double low, double high) {
  check(value >= low && value <= high, name, " must be in [", low, ", ", high, "], got ", value);
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

}  // namespace yolox_ops
