// Arithmetic of integers.
#include <algorithm>
#include <functional>

#include "arithmetic.h"
#include "lanes.h"

namespace ptx {
namespace {

// Division by zero is not an error on the machine: the quotient has all bits set, the remainder is the dividend.
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return static_cast<T>(-1);
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return static_cast<T>(0 - a);
    return a / b;
  }
};
struct Remainder {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
    return a % b;
  }
};
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return a < 0 ? 0 - a : a;
  }
};
struct MultiplyAdd {
  template <class T>
  T operator()(T a, T b, T c) const {
    return a * b + c;
  }
};

// Sources of one width, the result of twice that.
template <class T, class Wide>
void multiply_wide(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const uint64_t *a = warp.source(i, 0), *b = warp.source(i, 1);
  each_lane(lanes, [=](int lane) {
    result[lane] = bits_of(static_cast<Wide>(Wide{value_of<T>(a[lane])} * Wide{value_of<T>(b[lane])}));
  });
}
template <class T, class Wide>
void multiply_add_wide(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const uint64_t *a = warp.source(i, 0), *b = warp.source(i, 1), *c = warp.source(i, 2);
  each_lane(lanes, [=](int lane) {
    const Wide product = Wide{value_of<T>(a[lane])} * Wide{value_of<T>(b[lane])};
    result[lane] = bits_of(static_cast<Wide>(product + value_of<Wide>(c[lane])));
  });
}

template <class T, class Wide>
struct MultiplyHigh {
  T operator()(T a, T b) const { return static_cast<T>(Wide{a} * Wide{b} >> 8 * sizeof(T)); }
};

template <class T>
void add_type(Table& table, const std::string& type) {
  table["add." + type] = binary<T, std::plus<>>;
  table["sub." + type] = binary<T, std::minus<>>;
  table["mul.lo." + type] = binary<T, std::multiplies<>>;
  table["mad.lo." + type] = ternary<T, MultiplyAdd>;
  table["div." + type] = binary<T, Divide>;
  table["rem." + type] = binary<T, Remainder>;
  table["min." + type] = binary<T, Minimum>;
  table["max." + type] = binary<T, Maximum>;
  if constexpr (std::is_signed_v<T>) {
    table["neg." + type] = unary<T, std::negate<>>;
    table["abs." + type] = unary<T, Absolute>;
  }
}

template <class T, class Wide>
void add_wide(Table& table, const std::string& type) {
  table["mul.wide." + type] = multiply_wide<T, Wide>;
  table["mad.wide." + type] = multiply_add_wide<T, Wide>;
}

}  // namespace

void add_integers(Table& table) {
  add_type<int16_t>(table, "s16");
  add_type<uint16_t>(table, "u16");
  add_type<int32_t>(table, "s32");
  add_type<uint32_t>(table, "u32");
  add_type<int64_t>(table, "s64");
  add_type<uint64_t>(table, "u64");
  add_wide<int16_t, int32_t>(table, "s16");
  add_wide<uint16_t, uint32_t>(table, "u16");
  add_wide<int32_t, int64_t>(table, "s32");
  add_wide<uint32_t, uint64_t>(table, "u32");
  table["mul.hi.s32"] = binary<int32_t, MultiplyHigh<int32_t, int64_t>>;
  table["mul.hi.u32"] = binary<uint32_t, MultiplyHigh<uint32_t, uint64_t>>;
  __extension__ typedef __int128 Signed128;
  __extension__ typedef unsigned __int128 Unsigned128;
  table["mul.hi.s64"] = binary<int64_t, MultiplyHigh<int64_t, Signed128>>;
  table["mul.hi.u64"] = binary<uint64_t, MultiplyHigh<uint64_t, Unsigned128>>;
}

}  // namespace ptx
