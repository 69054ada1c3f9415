// Reads the names of box formats and of kinds of similarity.
#pragma once

#include <string>

#include "boxes/box.h"
#include "core/errors.h"

namespace yolox_ops {

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
