// Reads and checks num_gts: how many ground truths of each image are real.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "core/guards.h"

namespace yolox_ops {

// The real ground truths of each of B images, of G rows; rows past them are padding.
inline std::vector<int64_t> read_counts(const std::optional<Tensor>& num_gts,  // [B]
                                        int64_t B, int64_t G) {
  std::vector<int64_t> counts(B, G);
  if (!num_gts) return counts;
  std::copy_n(dense(*num_gts, ScalarType::Long).const_data_ptr<int64_t>(), B, counts.begin());
  for (int64_t b = 0; b < B; ++b) {
    const IntegerRead count{counts[b], num_gts->scalar_type()};
    check(counts[b] >= 0 && counts[b] <= G, "num_gts must be in [0, ", G, "], got ", count, " at image ", b);
  }
  return counts;
}

}  // namespace yolox_ops
