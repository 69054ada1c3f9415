// Sorts and gathers rows by PyTorch's ops, called through its dispatcher.
#pragma once

#include <array>
#include <utility>

#include "core/device.cuh"

namespace yolox_ops {

// Sorts rows, equal values in the order they came: values and indices.
inline std::pair<Tensor, Tensor> sort_rows(const Tensor& t,  // [B, N]
                                           bool descending) {
  using torch::stable::detail::from;
  std::array<StableIValue, 4> stack{from(t), from(std::optional<bool>(true)), from(int64_t{-1}), from(descending)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
  return {torch::stable::detail::to<Tensor>(stack[0]), torch::stable::detail::to<Tensor>(stack[1])};
}

// Element index[b, i] of row b, for every i.
inline Tensor gather_rows(const Tensor& t,        // [B, N]
                          const Tensor& index) {  // [B, N]
  using torch::stable::detail::from;
  std::array<StableIValue, 4> stack{from(t), from(int64_t{1}), from(index), from(false)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::gather", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

}  // namespace yolox_ops
