// setp, of integers, floats and halves.
#include <cmath>
#include <functional>

#include "arithmetic.h"
#include "halves.h"
#include "lanes.h"

namespace ptx {
namespace {

// Of floats: false where a value is NaN, or, for the "u" comparisons, true.
template <class Function, bool unordered>
struct Compare {
  template <class T>
  bool operator()(T a, T b) const {
    if constexpr (!std::is_integral_v<T>) {
      if (std::isnan(a) || std::isnan(b)) return unordered;
    }
    return Function()(a, b);
  }
};
struct AreNumbers {
  template <class T>
  bool operator()(T a, T b) const {
    return !std::isnan(a) && !std::isnan(b);
  }
};

struct IsNaNAmong {
  template <class T>
  bool operator()(T a, T b) const {
    return std::isnan(a) || std::isnan(b);
  }
};

bool join(Join kind, bool outcome, bool other) {
  switch (kind) {
    case Join::kNone:
      return outcome;
    case Join::kAnd:
      return outcome && other;
    case Join::kOr:
      return outcome || other;
    case Join::kXor:
      return outcome != other;
  }
  return outcome;
}

// The predicate that outcomes are joined with, a bit a lane.
uint32_t other_predicates(const Warp& warp, const Instruction& i, uint32_t lanes) {
  return i.source_count > 2 ? warp.lanes_where(i.sources[2], lanes) : 0;
}

// Writes outcomes, a bit a lane, joined with a predicate, and that of the opposite outcomes behind them.
void write_joined(Warp& warp, const Instruction& i, uint32_t lanes, uint32_t outcomes) {
  const uint32_t others = other_predicates(warp, i, lanes);
  for (int k = 0; k < i.result_count; ++k) {
    uint64_t* result = warp.result(i, k);
    const uint32_t here = k == 0 ? outcomes : ~outcomes;
    each_lane(lanes, [=](int lane) { result[lane] = join(Join(i.variant), here >> lane & 1, others >> lane & 1); });
  }
}

// Most compare two sources and want one result.
template <class T, class Comparison>
void compare(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint64_t *a = warp.source(i, 0), *b = warp.source(i, 1);
  const auto outcome = [=](int lane) { return Comparison()(value_of<T>(a[lane]), value_of<T>(b[lane])); };
  if (i.source_count == 2 && i.result_count == 1) {
    uint64_t* result = warp.result(i, 0);
    each_lane(lanes, [=](int lane) { result[lane] = outcome(lane); });
    return;
  }
  uint32_t outcomes = 0;
  each_lane(lanes, [&](int lane) { outcomes |= uint32_t{outcome(lane)} << lane; });
  write_joined(warp, i, lanes, outcomes);
}

// Two values side by side in a register, an outcome for each.
template <class T, class Comparison>
void compare_pairs(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint64_t *a = warp.source(i, 0), *b = warp.source(i, 1);
  const uint32_t others = other_predicates(warp, i, lanes);
  for (int k = 0; k < i.result_count; ++k) {
    uint64_t* result = warp.result(i, k);
    each_lane(lanes, [=](int lane) {
      const bool outcome = Comparison()(value_of<T>(a[lane] >> 16 * k), value_of<T>(b[lane] >> 16 * k));
      result[lane] = join(Join(i.variant), outcome, others >> lane & 1);
    });
  }
}

template <class T, class Comparison>
void add_comparison(Table& table, const std::string& name, const std::string& type) {
  table["setp." + name + "." + type] = compare<T, Comparison>;
  if constexpr (std::is_class_v<T>) table["setp." + name + "." + type + "x2"] = compare_pairs<T, Comparison>;
}

template <class T, bool unordered>
void add_all(Table& table, const std::string& type) {
  const std::string end = unordered ? "u" : "";
  add_comparison<T, Compare<std::equal_to<>, unordered>>(table, "eq" + end, type);
  add_comparison<T, Compare<std::not_equal_to<>, unordered>>(table, "ne" + end, type);
  add_comparison<T, Compare<std::less<>, unordered>>(table, "lt" + end, type);
  add_comparison<T, Compare<std::less_equal<>, unordered>>(table, "le" + end, type);
  add_comparison<T, Compare<std::greater<>, unordered>>(table, "gt" + end, type);
  add_comparison<T, Compare<std::greater_equal<>, unordered>>(table, "ge" + end, type);
}

template <class T>
void add_float(Table& table, const std::string& type) {
  add_all<T, false>(table, type);
  add_all<T, true>(table, type);
  add_comparison<T, AreNumbers>(table, "num", type);
  add_comparison<T, IsNaNAmong>(table, "nan", type);
}

template <class T>
void add_equality(Table& table, const std::string& type) {
  add_comparison<T, std::equal_to<>>(table, "eq", type);
  add_comparison<T, std::not_equal_to<>>(table, "ne", type);
}

}  // namespace

void add_comparisons(Table& table) {
  add_all<int16_t, false>(table, "s16");
  add_all<uint16_t, false>(table, "u16");
  add_all<int32_t, false>(table, "s32");
  add_all<uint32_t, false>(table, "u32");
  add_all<int64_t, false>(table, "s64");
  add_all<uint64_t, false>(table, "u64");
  add_equality<uint16_t>(table, "b16");
  add_equality<uint32_t>(table, "b32");
  add_equality<uint64_t>(table, "b64");
  add_float<float>(table, "f32");
  add_float<double>(table, "f64");
  add_float<Half>(table, "f16");
  add_float<BrainFloat>(table, "bf16");
}

}  // namespace ptx
