// Atomic operations on one value, lane after lane.
#include <algorithm>
#include <cstring>
#include <map>

#include "access.h"
#include "lanes.h"

namespace ptx {
namespace {

struct Add {
  template <class T>
  T operator()(T before, T value, T) const {
    return before + value;
  }
};
struct Exchange {
  template <class T>
  T operator()(T, T value, T) const {
    return value;
  }
};
struct CompareAndSwap {
  template <class T>
  T operator()(T before, T expected, T value) const {
    return before == expected ? value : before;
  }
};
struct Minimum {
  template <class T>
  T operator()(T before, T value, T) const {
    return std::min(before, value);
  }
};
struct Maximum {
  template <class T>
  T operator()(T before, T value, T) const {
    return std::max(before, value);
  }
};
struct And {
  template <class T>
  T operator()(T before, T value, T) const {
    return before & value;
  }
};
struct Or {
  template <class T>
  T operator()(T before, T value, T) const {
    return before | value;
  }
};
struct Xor {
  template <class T>
  T operator()(T before, T value, T) const {
    return before ^ value;
  }
};

// Lane after lane; the result, if there is one, is what was there before.
template <class T, class Function>
void atomic(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint64_t *base = warp.source(i, 0), *value = warp.source(i, 1);
  const uint64_t* other = i.source_count > 2 ? warp.source(i, 2) : value;
  each_lane(lanes, [&](int lane) {
    const Located place = locate(warp, i, lane, base[lane] + i.offset, sizeof(T));
    check_written(warp, lane, place, sizeof(T));
    check_order(warp, lane, place, sizeof(T), Touch::kAtomic, true);
    T before;
    std::memcpy(&before, place.bytes, sizeof before);
    const T after = Function()(before, value_of<T>(value[lane]), value_of<T>(other[lane]));
    std::memcpy(place.bytes, &after, sizeof after);
    if (i.result_count > 0) warp.result(i, 0)[lane] = bits_of(before);
  });
}

using Table = std::map<std::pair<std::string, std::string>, Execute>;

template <class T>
void add_integer(Table& table, const std::string& type) {
  table[{"add", type}] = atomic<T, Add>;
  table[{"min", type}] = atomic<T, Minimum>;
  table[{"max", type}] = atomic<T, Maximum>;
}

template <class T>
void add_bits(Table& table, const std::string& type) {
  table[{"exch", type}] = atomic<T, Exchange>;
  table[{"cas", type}] = atomic<T, CompareAndSwap>;
  table[{"and", type}] = atomic<T, And>;
  table[{"or", type}] = atomic<T, Or>;
  table[{"xor", type}] = atomic<T, Xor>;
}

Table make_table() {
  Table table;
  add_integer<int32_t>(table, "s32");
  add_integer<uint32_t>(table, "u32");
  add_integer<int64_t>(table, "s64");
  add_integer<uint64_t>(table, "u64");
  add_bits<uint32_t>(table, "b32");
  add_bits<uint64_t>(table, "b64");
  table[{"add", "f32"}] = atomic<float, Add>;
  table[{"add", "f64"}] = atomic<double, Add>;
  return table;
}

}  // namespace

Execute find_atomic(const std::string& operation, const std::string& type) {
  static const Table table = make_table();
  const auto found = table.find({operation, type});
  return found == table.end() ? nullptr : found->second;
}

}  // namespace ptx
