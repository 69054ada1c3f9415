// Finds the first few of many values in one pass over blocks, hardly any of which it must look into.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "assign/rule.h"
#include "core/simd.h"

namespace yolox_ops {
namespace {

// Values looked at together.
constexpr int64_t kTopBlock = 32;

// Whether one of the values is over the limit.
template <class T>
YOLOX_OPS_INLINE bool any_over(const T* values,  // [n]
                               int64_t n, T limit) {
  int found = 0;
  for (int64_t i = 0; i < n; ++i) found |= values[i] > limit;
  return found;
}
YOLOX_OPS_SIMD_LOOP(bool, any_over, (const T* values, int64_t n, T limit), (values, n, limit));

// Whether one is under the limit, or NaN.
template <class T>
YOLOX_OPS_INLINE bool any_not_from(const T* values,  // [n]
                                   int64_t n, T limit) {
  int found = 0;
  for (int64_t i = 0; i < n; ++i) found |= !(values[i] >= limit);
  return found;
}
YOLOX_OPS_SIMD_LOOP(bool, any_not_from, (const T* values, int64_t n, T limit), (values, n, limit));

// The first `most` values by `Before` of those offered.
template <class Value, class Before>
class Leaders {
 public:
  void start(int64_t most) {
    most_ = most;
    kept_.clear();
  }

  // Whether there are `most` now, so that what does not come before the last of them need not be offered.
  bool offer(const Value& value) {
    kept_.push_back(value);
    if (static_cast<int64_t>(kept_.size()) < 2 * most_ + 4) return false;
    std::nth_element(kept_.begin(), kept_.begin() + (most_ - 1), kept_.end(), Before());
    kept_.resize(most_);
    return true;
  }

  const Value& last() const { return kept_.back(); }

  // In order; fewer than `most` where fewer were offered.
  const std::vector<Value>& sorted() {
    const auto end = kept_.begin() + std::min<int64_t>(most_, kept_.size());
    std::partial_sort(kept_.begin(), end, kept_.end(), Before());
    kept_.erase(end, kept_.end());
    return kept_;
  }

 private:
  int64_t most_ = 0;
  std::vector<Value> kept_;
};

// Sum of the q largest overlaps, the largest first. Zeros and NaN add nothing.
template <class T>
T sum_largest(const T* overlaps,  // [n]
              int64_t n, int64_t q, Leaders<T, std::greater<T>>& top) {
  top.start(std::min(q, n));
  T limit = T(0);
  for (int64_t first = 0; first < n; first += kTopBlock) {
    const int64_t count = std::min(kTopBlock, n - first);
    if (!simd_any_over(overlaps + first, count, limit)) continue;
    for (int64_t i = first; i < first + count; ++i) {
      if (overlaps[i] > limit && top.offer(overlaps[i])) limit = top.last();
    }
  }
  const std::vector<T>& largest = top.sorted();
  return std::accumulate(largest.begin(), largest.end(), T(0));
}

// The k preferred of n costs, or all that can be had, best first; +inf cannot.
inline const std::vector<Preference>& find_preferred(const double* costs,  // [n]
                                                     int64_t n, int64_t k,
                                                     Leaders<Preference, std::less<Preference>>& top) {
  top.start(std::min(k, n));
  double limit = std::numeric_limits<double>::infinity();
  for (int64_t first = 0; k > 0 && first < n; first += kTopBlock) {
    const int64_t count = std::min(kTopBlock, n - first);
    if (!simd_any_not_from(costs + first, count, limit)) continue;
    for (int64_t i = first; i < first + count; ++i) {
      if (costs[i] >= limit) continue;
      if (top.offer(Preference(costs[i], i)) && top.last().rank == 0) limit = top.last().cost;
    }
  }
  return top.sorted();
}

}  // namespace
}  // namespace yolox_ops
