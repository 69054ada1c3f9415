// Torch's CPU allocator, which from now on tells the simulator what is alive, and fills fresh memory with a pattern by
// which a read of what nobody wrote is known.
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <cstring>

#include "simulator/api.h"

namespace {

void free_recorded(void* data) {
  simulator_remove_memory(data);
  c10::free_cpu(data);
}

class RecordingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = c10::alloc_cpu(bytes);
    if (data != nullptr) {
      const uint64_t pattern = simulator_unwritten();
      auto* fresh = static_cast<char*>(data);
      for (size_t at = 0; at < bytes; at += sizeof pattern) {
        std::memcpy(fresh + at, &pattern, std::min(sizeof pattern, bytes - at));
      }
      simulator_add_memory(data, bytes);
    }
    return {data, data, &free_recorded, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_recorded; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

RecordingAllocator allocator;
const bool is_set = (c10::SetCPUAllocator(&allocator, 1), true);

}  // namespace
