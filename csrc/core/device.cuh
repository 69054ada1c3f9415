// What every CUDA kernel file shares: the device of a call, its current stream, and the launch.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include <algorithm>

#include "core/guards.h"

namespace yolox_ops {

// What a grid may have in y and z, and no grid of ours exceeds anywhere; kernels step through what is left.
constexpr int64_t kMaxGrid = 65535;
constexpr uint32_t kAllLanes = 0xffffffffu;

// How many blocks of a kernel a multiprocessor shall hold, which limits their registers: one fewer but on
// sm_90, for ptxas needs more of these elsewhere, and would spill.
constexpr int at_once(int blocks) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ != 900
  return blocks - 1;
#else
  return blocks;
#endif
}

// Makes the device of a tensor current while it lives, and launches on that device's current stream.
class Device {
 public:
  explicit Device(const Tensor& t) : guard_(t.get_device_index()) {
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream_));
  }

  template <class... Params, class... Args>
  void launch(void (*kernel)(Params...), dim3 grid, int threads, Args... args) const {
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.stream = static_cast<cudaStream_t>(stream_);
    STD_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...));
  }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  void* stream_ = nullptr;
};

inline unsigned blocks(int64_t work, int64_t per_block) {
  return static_cast<unsigned>(std::min((work + per_block - 1) / per_block, kMaxGrid));
}

}  // namespace yolox_ops
