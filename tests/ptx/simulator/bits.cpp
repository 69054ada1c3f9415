// Shifts, counts, fields, bytes and logic, that of predicates among it.
#include <algorithm>
#include <bit>
#include <functional>

#include "arithmetic.h"
#include "lanes.h"

namespace ptx {
namespace {

// A count beyond the width shifts everything out.
struct ShiftLeft {
  template <class T>
  T operator()(T a, uint32_t by) const {
    return by >= 8 * sizeof(T) ? T{0} : static_cast<T>(a << by);
  }
};
struct ShiftRight {
  template <class T>
  T operator()(T a, uint32_t by) const {
    return static_cast<T>(a >> std::min<uint32_t>(by, 8 * sizeof(T) - 1)) &
           (by >= 8 * sizeof(T) && a >= 0 ? T{0} : T(-1));
  }
};
// The count is 32 bits wide whatever is shifted.
template <class T, class Function>
void shift(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const uint64_t *a = warp.source(i, 0), *by = warp.source(i, 1);
  each_lane(lanes, [=](int lane) {
    result[lane] = bits_of(Function()(value_of<T>(a[lane]), static_cast<uint32_t>(by[lane])));
  });
}

// Shifts of two words side by side.
enum class Funnel : uint8_t { kLeftWrap, kLeftClamp, kRightWrap, kRightClamp };
template <Funnel kind>
struct FunnelShift {
  uint32_t operator()(uint32_t low, uint32_t high, uint32_t by) const {
    const bool clamps = kind == Funnel::kLeftClamp || kind == Funnel::kRightClamp;
    const bool is_left = kind == Funnel::kLeftWrap || kind == Funnel::kLeftClamp;
    const uint64_t both = uint64_t{high} << 32 | low;
    const uint32_t count = clamps ? std::min(by, 32u) : by & 31;
    return static_cast<uint32_t>(is_left ? both << count >> 32 : both >> count);
  }
};

template <class T>
struct CountOnes {
  uint64_t operator()(T a) const { return std::popcount(a); }
};
template <class T>
struct CountLeadingZeros {
  uint64_t operator()(T a) const { return std::countl_zero(a); }
};
struct Reverse {
  uint32_t operator()(uint32_t a) const {
    uint32_t reversed = 0;
    for (int k = 0; k < 32; ++k) reversed |= (a >> k & 1) << (31 - k);
    return reversed;
  }
};
struct HighestOne {
  uint32_t operator()(uint32_t a) const { return a == 0 ? UINT32_MAX : 31 - std::countl_zero(a); }
};
struct ShiftToHighestOne {
  uint32_t operator()(uint32_t a) const { return a == 0 ? UINT32_MAX : std::countl_zero(a); }
};

template <class T>
T low_bits(uint32_t count) {
  return count >= 8 * sizeof(T) ? static_cast<T>(-1) : static_cast<T>((std::make_unsigned_t<T>{1} << count) - 1);
}

// `length` bits of a from `start`; a signed field is extended from its highest bit, or from a's where it reaches
// beyond.
template <class T>
struct ExtractField {
  T operator()(T a, T start, T length) const {
    using Unsigned = std::make_unsigned_t<T>;
    const uint32_t from = start & 255, bits = length & 255, width = 8 * sizeof(T);
    const Unsigned shifted = from >= width ? 0 : static_cast<Unsigned>(a) >> from;
    Unsigned field = shifted & low_bits<Unsigned>(bits);
    if (std::is_signed_v<T> && bits > 0) {
      const uint32_t sign_bit = std::min(from + bits - 1, width - 1);
      const bool is_negative = static_cast<Unsigned>(a) >> sign_bit & 1;
      if (is_negative) field |= ~low_bits<Unsigned>(from >= width ? 0 : sign_bit - from + 1);
    }
    return static_cast<T>(field);
  }
};
// The bits of a in place of `length` bits of b from `start`.
template <class T>
void insert_field(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const uint64_t *a = warp.source(i, 0), *b = warp.source(i, 1), *start = warp.source(i, 2),
                 *length = warp.source(i, 3);
  each_lane(lanes, [=](int lane) {
    const uint32_t from = start[lane] & 255;
    const T field = from >= 8 * sizeof(T) ? T{0} : static_cast<T>(low_bits<T>(length[lane] & 255) << from);
    const T shifted = from >= 8 * sizeof(T) ? T{0} : static_cast<T>(value_of<T>(a[lane]) << from);
    result[lane] = bits_of(static_cast<T>((value_of<T>(b[lane]) & ~field) | (shifted & field)));
  });
}

// Four bytes chosen from eight; the high bit of a choice asks for its sign in every bit.
struct Permute {
  uint32_t operator()(uint32_t low, uint32_t high, uint32_t choices) const {
    const uint64_t both = uint64_t{high} << 32 | low;
    uint32_t result = 0;
    for (int k = 0; k < 4; ++k) {
      const uint32_t choice = choices >> 4 * k & 15;
      auto byte = static_cast<uint8_t>(both >> 8 * (choice & 7));
      if (choice & 8) byte = byte & 0x80 ? 0xff : 0;
      result |= uint32_t{byte} << 8 * k;
    }
    return result;
  }
};

// Any function of three bits, by its table.
void logic_of_3(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const uint64_t *a = warp.source(i, 0), *b = warp.source(i, 1), *c = warp.source(i, 2), *table = warp.source(i, 3);
  each_lane(lanes, [=](int lane) {
    uint32_t bits = 0;
    for (int k = 0; k < 8; ++k) {
      const uint64_t here = (k & 4 ? a[lane] : ~a[lane]) & (k & 2 ? b[lane] : ~b[lane]) & (k & 1 ? c[lane] : ~c[lane]);
      if (table[lane] >> k & 1) bits |= static_cast<uint32_t>(here);
    }
    result[lane] = bits;
  });
}

template <class T>
void add_type(Table& table, const std::string& type) {
  table["and." + type] = binary<T, std::bit_and<>>;
  table["or." + type] = binary<T, std::bit_or<>>;
  table["xor." + type] = binary<T, std::bit_xor<>>;
  table["not." + type] = unary<T, std::bit_not<>>;
  table["shl." + type] = shift<T, ShiftLeft>;
  table["shr." + type] = shift<T, ShiftRight>;
}

struct ExactlyOne {
  bool operator()(uint64_t a, uint64_t b) const { return (a != 0) != (b != 0); }
};

}  // namespace

void add_bits(Table& table) {
  add_type<uint16_t>(table, "b16");
  add_type<uint32_t>(table, "b32");
  add_type<uint64_t>(table, "b64");
  table["shr.s16"] = shift<int16_t, ShiftRight>;
  table["shr.s32"] = shift<int32_t, ShiftRight>;
  table["shr.s64"] = shift<int64_t, ShiftRight>;
  table["shr.u16"] = shift<uint16_t, ShiftRight>;
  table["shr.u32"] = shift<uint32_t, ShiftRight>;
  table["shr.u64"] = shift<uint64_t, ShiftRight>;
  table["shf.l.wrap.b32"] = ternary<uint32_t, FunnelShift<Funnel::kLeftWrap>>;
  table["shf.l.clamp.b32"] = ternary<uint32_t, FunnelShift<Funnel::kLeftClamp>>;
  table["shf.r.wrap.b32"] = ternary<uint32_t, FunnelShift<Funnel::kRightWrap>>;
  table["shf.r.clamp.b32"] = ternary<uint32_t, FunnelShift<Funnel::kRightClamp>>;
  table["popc.b32"] = unary<uint32_t, CountOnes<uint32_t>>;
  table["popc.b64"] = unary<uint64_t, CountOnes<uint64_t>>;
  table["clz.b32"] = unary<uint32_t, CountLeadingZeros<uint32_t>>;
  table["clz.b64"] = unary<uint64_t, CountLeadingZeros<uint64_t>>;
  table["brev.b32"] = unary<uint32_t, Reverse>;
  table["bfind.u32"] = unary<uint32_t, HighestOne>;
  table["bfind.shiftamt.u32"] = unary<uint32_t, ShiftToHighestOne>;
  table["bfe.u32"] = ternary<uint32_t, ExtractField<uint32_t>>;
  table["bfe.s32"] = ternary<int32_t, ExtractField<int32_t>>;
  table["bfe.u64"] = ternary<uint64_t, ExtractField<uint64_t>>;
  table["bfe.s64"] = ternary<int64_t, ExtractField<int64_t>>;
  table["bfi.b32"] = insert_field<uint32_t>;
  table["bfi.b64"] = insert_field<uint64_t>;
  table["prmt.b32"] = ternary<uint32_t, Permute>;
  table["lop3.b32"] = logic_of_3;
  table["and.pred"] = binary<uint64_t, std::logical_and<>>;
  table["or.pred"] = binary<uint64_t, std::logical_or<>>;
  table["xor.pred"] = binary<uint64_t, ExactlyOne>;
  table["not.pred"] = unary<uint64_t, std::logical_not<>>;
}

}  // namespace ptx
