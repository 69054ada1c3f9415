// Sorts by integer keys.
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
void sort_by_key(Item* items,  // [n]
                 Item* spare,  // [n]
                 int64_t n) {
  uint64_t differing = 0;
  for (int64_t i = 0; i < n; ++i) differing |= items[i].key ^ items[0].key;
  Item *from = items, *to = spare;
  for (int shift = 0; shift < 64; shift += 8) {
    if (!(differing >> shift & 0xff)) continue;
    int64_t begin[257] = {};  // of each digit's items in the order to be
    for (int64_t i = 0; i < n; ++i) ++begin[(from[i].key >> shift & 0xff) + 1];
    for (int digit = 0; digit < 256; ++digit) begin[digit + 1] += begin[digit];
    for (int64_t i = 0; i < n; ++i) to[begin[from[i].key >> shift & 0xff]++] = from[i];
    std::swap(from, to);
  }
  if (from != items) std::copy(from, from + n, items);
}

}  // namespace
}  // namespace yolox_ops
