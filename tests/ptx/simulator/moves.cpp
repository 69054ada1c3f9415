// Values that are moved, chosen, or put side by side in one register.
#include "arithmetic.h"
#include "lanes.h"

namespace ptx {
namespace {

template <class T>
struct Same {
  T operator()(T a) const { return a; }
};

// A constant that is true may be written as 1 or as -1.
struct IsTrue {
  bool operator()(uint64_t a) const { return a != 0; }
};

template <class T>
void select(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const uint64_t *a = warp.source(i, 0), *b = warp.source(i, 1), *chosen = warp.source(i, 2);
  each_lane(lanes, [=](int lane) { result[lane] = bits_of(value_of<T>(chosen[lane] & 1 ? a[lane] : b[lane])); });
}

template <class T>
void add_width(Table& table, const std::string& bits) {
  for (const char* kind : {"b", "u", "s"}) {
    table["mov." + (kind + bits)] = unary<T, Same<T>>;
    table["selp." + (kind + bits)] = select<T>;
  }
}

}  // namespace

void add_moves(Table& table) {
  add_width<uint16_t>(table, "16");
  add_width<uint32_t>(table, "32");
  add_width<uint64_t>(table, "64");
  table["mov.pred"] = unary<uint64_t, IsTrue>;
  table["mov.f32"] = table["mov.b32"];
  table["mov.f64"] = table["mov.b64"];
  table["selp.f32"] = table["selp.b32"];
  table["selp.f64"] = table["selp.b64"];
}

// The variant is the bytes of that register.
void pack(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* result = warp.result(i, 0);
  const int bits = i.variant * 8 / i.source_count;
  each_lane(lanes, [&](int lane) {
    uint64_t packed = 0;
    for (int k = 0; k < i.source_count; ++k) {
      packed |= (warp.source(i, k)[lane] & ((uint64_t{1} << bits) - 1)) << (k * bits);
    }
    result[lane] = packed;
  });
}

void unpack(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint64_t* source = warp.source(i, 0);
  const int bits = i.variant * 8 / i.result_count;
  each_lane(lanes, [&](int lane) {
    const uint64_t packed = source[lane];
    for (int k = 0; k < i.result_count; ++k) {
      warp.result(i, k)[lane] = packed >> (k * bits) & ((uint64_t{1} << bits) - 1);
    }
  });
}

}  // namespace ptx
