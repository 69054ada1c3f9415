// The largest of many overlaps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <vector>

namespace yolox_ops {

// Sum of the q largest overlaps, the largest first. Zeros and NaN add nothing.
template <class T>
T sum_of_top(const T* overlaps, int64_t n, int64_t q, std::vector<T>& positive) {
  positive.clear();
  std::copy_if(overlaps, overlaps + n, std::back_inserter(positive), [](T overlap) { return overlap > T(0); });
  const auto end = positive.begin() + std::min(q, static_cast<int64_t>(positive.size()));
  std::partial_sort(positive.begin(), end, positive.end(), std::greater<T>());
  return std::accumulate(positive.begin(), end, T(0));
}

}  // namespace yolox_ops
