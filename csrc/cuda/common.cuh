// What every CUDA kernel file shares: the current stream and its device, and the launch check.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include <algorithm>

#include "../common.h"

namespace yolox_ops {

constexpr int kThreads = 256;
// Launches never exceed this in y and z; kernels step through what is left.
constexpr int64_t kMaxGrid = 65535;

inline cudaStream_t current_stream(const Tensor& t) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

inline unsigned blocks(int64_t work, int64_t per_block) {
  return static_cast<unsigned>(std::min((work + per_block - 1) / per_block, kMaxGrid));
}

}  // namespace yolox_ops
