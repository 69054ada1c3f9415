// Checks of arguments.
#pragma once

#include <charconv>
#include <concepts>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace yolox_ops {

// Numbers as they are: the shortest text that says which double it is.
template <class Word>
void write_word(std::ostream& message, const Word& word) {
  if constexpr (std::floating_point<Word>) {
    char digits[32];
    message << std::string_view(digits, std::to_chars(digits, digits + sizeof digits, word).ptr);
  } else {
    message << word;
  }
}

// A failed check is a ValueError in Python: torch's bindings and pybind11 translate std::invalid_argument so.
template <class... Words>
void check(bool holds, const Words&... words) {
  if (holds) return;
  std::ostringstream message;
  (write_word(message, words), ...);
  throw std::invalid_argument(message.str());
}

inline void check_between(double value, const char* name, double low, double high) {
  check(value >= low && value <= high, name, " must be in [", low, ", ", high, "], got ", value);
}

}  // namespace yolox_ops
