// cvt between integers and floats, and cvta between a space's addresses and generic ones.
#include <cmath>
#include <limits>

#include "arithmetic.h"
#include "halves.h"
#include "lanes.h"
#include "memory.h"

namespace ptx {
namespace {

struct ToNearest {
  template <class T>
  T operator()(T a) const {
    return std::nearbyint(a);
  }
};
struct ToZero {
  template <class T>
  T operator()(T a) const {
    return std::trunc(a);
  }
};
struct Down {
  template <class T>
  T operator()(T a) const {
    return std::floor(a);
  }
};
struct Up {
  template <class T>
  T operator()(T a) const {
    return std::ceil(a);
  }
};

// The bits that a register gets: an integer may stand in a wider one, which its sign then fills.
template <class T>
uint64_t extended_bits_of(T value) {
  if constexpr (std::is_integral_v<T>) return static_cast<uint64_t>(value);
  return bits_of(value);
}

// Out of range: the nearest integer there is. NaN: 0, or the highest bit alone where either side has 64 bits.
template <class To, class From, class Round>
void float_to_integer(Warp& warp, const Instruction& i, uint32_t lanes) {
  constexpr int kBits = 8 * sizeof(To);
  constexpr bool kWide = sizeof(To) == 8 || sizeof(From) == 8;
  constexpr To kOfNaN = kWide ? static_cast<To>(uint64_t{1} << (kBits - 1)) : To{0};
  const From least = static_cast<From>(std::numeric_limits<To>::min());
  const From beyond = std::ldexp(From{1}, kBits - (std::is_signed_v<To> ? 1 : 0));
  uint64_t* result = warp.result(i, 0);
  const uint64_t* a = warp.source(i, 0);
  each_lane(lanes, [=](int lane) {
    const From value = Round()(value_of<From>(a[lane]));
    To converted = kOfNaN;
    if (value >= beyond) {
      converted = std::numeric_limits<To>::max();
    } else if (value < least) {
      converted = std::numeric_limits<To>::min();
    } else if (!std::isnan(value)) {
      converted = static_cast<To>(value);
    }
    result[lane] = extended_bits_of(converted);
  });
}

// The host rounds to nearest, and so do those that are called .rn.
template <class To, class From>
void convert(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const uint64_t* a = warp.source(i, 0);
  each_lane(lanes, [=](int lane) { result[lane] = extended_bits_of(static_cast<To>(value_of<From>(a[lane]))); });
}

template <class Integer>
void add_integer(Table& table, const std::string& type) {
  table["cvt.s8." + type] = convert<int8_t, Integer>;
  table["cvt.u8." + type] = convert<uint8_t, Integer>;
  table["cvt.s16." + type] = convert<int16_t, Integer>;
  table["cvt.u16." + type] = convert<uint16_t, Integer>;
  table["cvt.s32." + type] = convert<int32_t, Integer>;
  table["cvt.u32." + type] = convert<uint32_t, Integer>;
  table["cvt.s64." + type] = convert<int64_t, Integer>;
  table["cvt.u64." + type] = convert<uint64_t, Integer>;
  table["cvt.rn.f32." + type] = convert<float, Integer>;
  table["cvt.rn.f64." + type] = convert<double, Integer>;
  table["cvt.rzi." + type + ".f32"] = float_to_integer<Integer, float, ToZero>;
  table["cvt.rzi." + type + ".f64"] = float_to_integer<Integer, double, ToZero>;
  table["cvt.rni." + type + ".f32"] = float_to_integer<Integer, float, ToNearest>;
  table["cvt.rni." + type + ".f64"] = float_to_integer<Integer, double, ToNearest>;
  table["cvt.rmi." + type + ".f32"] = float_to_integer<Integer, float, Down>;
  table["cvt.rmi." + type + ".f64"] = float_to_integer<Integer, double, Down>;
  table["cvt.rpi." + type + ".f32"] = float_to_integer<Integer, float, Up>;
  table["cvt.rpi." + type + ".f64"] = float_to_integer<Integer, double, Up>;
}

template <class T>
void add_rounding(Table& table, const std::string& type) {
  const std::string both = "." + type + "." + type;
  table["cvt.rni" + both] = unary<T, ToNearest>;
  table["cvt.rzi" + both] = unary<T, ToZero>;
  table["cvt.rmi" + both] = unary<T, Down>;
  table["cvt.rpi" + both] = unary<T, Up>;
}

template <uint64_t window, int sign>
void move_window(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const uint64_t* a = warp.source(i, 0);
  each_lane(lanes, [=](int lane) { result[lane] = sign > 0 ? a[lane] + window : a[lane] - window; });
}

}  // namespace

void add_conversions(Table& table) {
  add_integer<int8_t>(table, "s8");
  add_integer<uint8_t>(table, "u8");
  add_integer<int16_t>(table, "s16");
  add_integer<uint16_t>(table, "u16");
  add_integer<int32_t>(table, "s32");
  add_integer<uint32_t>(table, "u32");
  add_integer<int64_t>(table, "s64");
  add_integer<uint64_t>(table, "u64");
  add_rounding<float>(table, "f32");
  add_rounding<double>(table, "f64");
  table["cvt.f64.f32"] = convert<double, float>;
  table["cvt.rn.f32.f64"] = convert<float, double>;
  table["cvt.f32.f16"] = convert<float, Half>;
  table["cvt.f64.f16"] = convert<double, Half>;
  table["cvt.f32.bf16"] = convert<float, BrainFloat>;
  table["cvt.f64.bf16"] = convert<double, BrainFloat>;
  // Generic addresses: those of global memory are the host's.
  table["cvta.to.global.u64"] = table["cvta.global.u64"] = move_window<0, 1>;
  table["cvta.shared.u64"] = move_window<kSharedWindow, 1>;
  table["cvta.to.shared.u64"] = move_window<kSharedWindow, -1>;
  table["cvta.local.u64"] = move_window<kLocalWindow, 1>;
  table["cvta.to.local.u64"] = move_window<kLocalWindow, -1>;
}

}  // namespace ptx
