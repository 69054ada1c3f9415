// What most instructions are: a function of values, in every lane that is named.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "instruction.h"
#include "warp.h"

namespace ptx {

template <class F>
inline void each_lane(uint32_t lanes, F function) {
  if (lanes == kAllLanes) {
    for (int lane = 0; lane < kLanes; ++lane) function(lane);
  } else {
    for (; lanes != 0; lanes &= lanes - 1) function(std::countr_zero(lanes));
  }
}

template <class T>
inline T value_of(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
inline uint64_t bits_of(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <class T, class Function>
void unary(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const uint64_t* a = warp.source(i, 0);
  each_lane(lanes, [=](int lane) { result[lane] = bits_of(static_cast<T>(Function()(value_of<T>(a[lane])))); });
}

template <class T, class Function>
void binary(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const uint64_t *a = warp.source(i, 0), *b = warp.source(i, 1);
  each_lane(lanes, [=](int lane) {
    result[lane] = bits_of(static_cast<T>(Function()(value_of<T>(a[lane]), value_of<T>(b[lane]))));
  });
}

template <class T, class Function>
void ternary(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const uint64_t *a = warp.source(i, 0), *b = warp.source(i, 1), *c = warp.source(i, 2);
  each_lane(lanes, [=](int lane) {
    result[lane] =
        bits_of(static_cast<T>(Function()(value_of<T>(a[lane]), value_of<T>(b[lane]), value_of<T>(c[lane]))));
  });
}

}  // namespace ptx
