// Registers the CUDA kernels as ops of yolox_ops_simulated, for CPU tensors.
#pragma once

#include_next <torch/csrc/stable/library.h>

#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(ns, k, m) _STABLE_TORCH_LIBRARY_IMPL(yolox_ops_simulated, CPU, m, C10_UID)
