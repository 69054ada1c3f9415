// Reads num_gts on a GPU, where a kernel cannot refuse what it reads.
#pragma once

#include "core/device.cuh"
#include "core/reader.h"

namespace yolox_ops {
namespace {

// How many of the G ground truths of image b are real; of what cannot be, the nearest that can.
__device__ __forceinline__ int64_t read_count(const Reader<int64_t>& num_gts,  // [B]
                                              int64_t b, int64_t G) {
  return min(max(num_gts.at(b), int64_t{0}), G);
}

}  // namespace
}  // namespace yolox_ops
