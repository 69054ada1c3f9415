// Arithmetic of floats; of halves, what needs no rounding.
#include <cmath>
#include <functional>

#include "arithmetic.h"
#include "halves.h"
#include "lanes.h"

namespace ptx {
namespace {

// What PTX gives where two NaNs meet: every bit but the sign, of 16 or 32 bits and here of 64.
template <class T>
T canonical_nan() {
  return value_of<T>((uint64_t{1} << (8 * sizeof(T) - 1)) - 1);
}

// A NaN beside a number counts as absent, and -0 is below +0.
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    if (std::isnan(a)) return std::isnan(b) ? canonical_nan<T>() : b;
    if (std::isnan(b)) return a;
    if (a == b) return std::signbit(a) ? a : b;
    return a < b ? a : b;
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    if (std::isnan(a)) return std::isnan(b) ? canonical_nan<T>() : b;
    if (std::isnan(b)) return a;
    if (a == b) return std::signbit(a) ? b : a;
    return a > b ? a : b;
  }
};
template <class Function>
struct KeepNaN {
  template <class T>
  T operator()(T a, T b) const {
    return std::isnan(a) || std::isnan(b) ? canonical_nan<T>() : Function()(a, b);
  }
};
struct Negate {
  template <class T>
  T operator()(T a) const {
    return -a;
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return std::fabs(a);
  }
};
struct AbsoluteHalf {
  template <class T>
  T operator()(T a) const {
    return {static_cast<uint16_t>(a.bits & 0x7fff)};
  }
};
// The sign of a, the magnitude of b.
struct CopySign {
  template <class T>
  T operator()(T a, T b) const {
    return std::copysign(b, a);
  }
};
struct FusedMultiplyAdd {
  template <class T>
  T operator()(T a, T b, T c) const {
    return std::fma(a, b, c);
  }
};
struct SquareRoot {
  template <class T>
  T operator()(T a) const {
    return std::sqrt(a);
  }
};
struct Reciprocal {
  template <class T>
  T operator()(T a) const {
    return T{1} / a;
  }
};
// Approximations differ from machine to machine; here they are as good as the host's.
struct ReciprocalRoot {
  template <class T>
  T operator()(T a) const {
    return T{1} / std::sqrt(a);
  }
};
struct PowerOf2 {
  float operator()(float a) const { return std::exp2(a); }
};
struct LogarithmOf2 {
  float operator()(float a) const { return std::log2(a); }
};

// Subnormal numbers count as zeros.
template <class Function>
struct Flushed {
  template <class T>
  static T flush(T a) {
    return std::fpclassify(a) == FP_SUBNORMAL ? std::copysign(T{0}, a) : a;
  }
  template <class... T>
  auto operator()(T... a) const {
    return flush(Function()(flush(a)...));
  }
};
// The low halves of the operand and of the result are zero.
struct ReciprocalOfHighHalf {
  double operator()(double a) const {
    const uint64_t high = 0xffffffff00000000u;
    const double inverse = Flushed<Reciprocal>()(value_of<double>(bits_of(a) & high));
    return std::isnan(inverse) ? inverse : value_of<double>(bits_of(inverse) & high);
  }
};

template <class T>
void add_type(Table& table, const std::string& type) {
  for (const std::string rounding : {"", ".rn"}) {
    const std::string end = rounding + "." + type;
    table["add" + end] = binary<T, std::plus<>>;
    table["sub" + end] = binary<T, std::minus<>>;
    table["mul" + end] = binary<T, std::multiplies<>>;
  }
  table["div.rn." + type] = binary<T, std::divides<>>;
  table["fma.rn." + type] = ternary<T, FusedMultiplyAdd>;
  table["sqrt.rn." + type] = unary<T, SquareRoot>;
  table["rcp.rn." + type] = unary<T, Reciprocal>;
  table["min." + type] = binary<T, Minimum>;
  table["max." + type] = binary<T, Maximum>;
  table["neg." + type] = unary<T, Negate>;
  table["abs." + type] = unary<T, Absolute>;
  table["copysign." + type] = binary<T, CopySign>;
}

template <class T>
void add_half(Table& table, const std::string& type) {
  table["min." + type] = binary<T, Minimum>;
  table["max." + type] = binary<T, Maximum>;
  table["abs." + type] = unary<T, AbsoluteHalf>;
}

}  // namespace

void add_floats(Table& table) {
  add_type<float>(table, "f32");
  add_type<double>(table, "f64");
  add_half<Half>(table, "f16");
  add_half<BrainFloat>(table, "bf16");
  table["min.NaN.f32"] = binary<float, KeepNaN<Minimum>>;
  table["max.NaN.f32"] = binary<float, KeepNaN<Maximum>>;
  table["abs.ftz.f32"] = unary<float, Flushed<Absolute>>;
  table["ex2.approx.f32"] = unary<float, PowerOf2>;
  table["ex2.approx.ftz.f32"] = unary<float, Flushed<PowerOf2>>;
  table["lg2.approx.f32"] = unary<float, LogarithmOf2>;
  table["lg2.approx.ftz.f32"] = unary<float, Flushed<LogarithmOf2>>;
  table["rsqrt.approx.f32"] = unary<float, ReciprocalRoot>;
  table["rcp.approx.ftz.f32"] = unary<float, Flushed<Reciprocal>>;
  table["rcp.approx.ftz.f64"] = unary<double, ReciprocalOfHighHalf>;
  table["div.full.f32"] = table["div.approx.f32"] = binary<float, std::divides<>>;
}

}  // namespace ptx
