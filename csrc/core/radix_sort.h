// Sorting by integer keys.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace yolox_ops {
namespace {

struct Item {
  uint64_t key;
  int32_t index;
};

// Sorts by key, equal keys in the order they came: radix sort by the bytes in which keys differ.
void sort_by_key(Item* items, Item* spare, int64_t n) {
  uint64_t differing = 0;
  for (int64_t i = 0; i < n; ++i) differing |= items[i].key ^ items[0].key;
  Item *from = items, *to = spare;
  for (int shift = 0; shift < 64; shift += 8) {
    if (!(differing >> shift & 0xff)) continue;
    int64_t at[257] = {};
    for (int64_t i = 0; i < n; ++i) ++at[(from[i].key >> shift & 0xff) + 1];
    for (int digit = 0; digit < 256; ++digit) at[digit + 1] += at[digit];
    for (int64_t i = 0; i < n; ++i) to[at[from[i].key >> shift & 0xff]++] = from[i];
    std::swap(from, to);
  }
  if (from != items) std::copy(from, from + n, items);
}

}  // namespace
}  // namespace yolox_ops
