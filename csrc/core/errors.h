// Checks of arguments.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

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

}  // namespace yolox_ops
