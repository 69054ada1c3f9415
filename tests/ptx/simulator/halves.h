// Floats of 16 bits, which become doubles where they are read; nothing is rounded to them.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "lanes.h"

namespace ptx {

struct Half {
  uint16_t bits;
  operator double() const {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double magnitude = std::ldexp(fraction, -24);
    if (exponent == 31) {
      magnitude = fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
    } else if (exponent > 0) {
      magnitude = std::ldexp(1024 + fraction, exponent - 25);
    }
    return std::copysign(magnitude, bits & 0x8000 ? -1.0 : 1.0);
  }
};

struct BrainFloat {
  uint16_t bits;
  operator double() const { return value_of<float>(uint64_t{bits} << 16); }
};

}  // namespace ptx
