// For the simulator there is one device and one stream, and a launch that fails has said why already.
#pragma once

#define DeviceGuard RealDeviceGuard
#include_next <torch/csrc/stable/accelerator.h>
#undef DeviceGuard

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <stdexcept>

#undef STD_CUDA_CHECK
#define STD_CUDA_CHECK(EXPR) \
  if ((EXPR) != 0) throw std::runtime_error("a simulated kernel failed")

namespace torch::stable::accelerator {
struct DeviceGuard {
  explicit DeviceGuard(DeviceIndex) {}
};
}  // namespace torch::stable::accelerator

inline AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void**) { return AOTI_TORCH_SUCCESS; }
