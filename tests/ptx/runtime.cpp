// CUDA's runtime, as far as what nvcc compiles for the host calls it: modules and kernels register themselves when the
// library is loaded, and a launch goes to the function that was set.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

using Launch = int (*)(const char* name, const uint32_t* grid, uint32_t threads, uint32_t dynamic_shared, void** args);

struct Runtime {
  std::vector<std::string> modules;            // PTX
  std::map<const void*, std::string> kernels;  // names in PTX, by the function that the host launches
  Launch launch = nullptr;
};

Runtime& runtime() {
  static Runtime the_runtime;
  return the_runtime;
}

// How nvcc packs device code: a header, then entries, each with a header of its own.
struct FatHeader {
  uint32_t magic;
  uint16_t version, header_bytes;
  uint64_t bytes;
};
struct FatEntry {
  uint16_t kind, version;
  uint32_t header_bytes;
  uint64_t bytes;
};
struct FatWrapper {
  uint32_t magic, version;
  const FatHeader* data;
  void* unused;
};
constexpr uint16_t kPtx = 1;

}  // namespace

extern "C" {

void** __cudaRegisterFatBinary(void* binary) {
  const FatHeader* header = static_cast<FatWrapper*>(binary)->data;
  const char* at = reinterpret_cast<const char*>(header) + header->header_bytes;
  for (const char* end = at + header->bytes; at < end;) {
    FatEntry entry;
    std::memcpy(&entry, at, sizeof entry);
    if (entry.kind == kPtx) runtime().modules.emplace_back(at + entry.header_bytes);
    at += entry.header_bytes + entry.bytes;
  }
  return nullptr;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  runtime().kernels[function] = name;
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** args) {
  const dim3 &grid = config->gridDim, &block = config->blockDim;
  if (config->numAttrs != 0 || block.y != 1 || block.z != 1) return cudaErrorNotSupported;
  const uint32_t blocks[] = {grid.x, grid.y, grid.z};
  const std::string& name = runtime().kernels.at(function);
  const bool failed = runtime().launch(name.c_str(), blocks, block.x, config->dynamicSmemBytes, args) != 0;
  return failed ? cudaErrorLaunchFailure : cudaSuccess;
}

// What <<<>>> would call; kernels are launched by cudaLaunchKernelEx alone.
unsigned __cudaPopCallConfiguration(dim3*, dim3*, size_t*, void*) { return cudaErrorNotSupported; }
cudaError_t __cudaGetKernel(cudaKernel_t*, const void*) { return cudaErrorNotSupported; }
cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, size_t, cudaStream_t) { return cudaErrorNotSupported; }

__attribute__((visibility("default"))) void runtime_set_launch(Launch launch) { runtime().launch = launch; }
__attribute__((visibility("default"))) size_t runtime_count_modules() { return runtime().modules.size(); }
__attribute__((visibility("default"))) const char* runtime_module(size_t index) {
  return runtime().modules.at(index).c_str();
}
}
