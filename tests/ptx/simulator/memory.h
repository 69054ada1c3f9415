// Memory that kernels reach: what is allocated in the host's, and what a block or a thread has of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace ptx {

// Addresses of shared and local memory as generic ones.
constexpr uint64_t kSharedWindow = 0x7100000000000000u, kLocalWindow = 0x7200000000000000u;

// What fresh memory holds. Either half of it is NaN as a float32, and the whole as a float64.
constexpr uint64_t kUnwritten = 0x7ff7a5c3ffc5a39bu;

// The allocations that are alive. Host threads may allocate at the same time.
class Memory {
 public:
  bool add(uint64_t address, size_t bytes);  // false: it is there already
  void remove(uint64_t address);
  // Nothing is freed while a launch runs, which therefore need not look up again what it found last.
  void start_launch() { begin_ = 1, end_ = 0; }
  bool holds(uint64_t address, size_t bytes) { return is_in_last(address, bytes) || find(address, bytes); }

 private:
  // An address may be so high that its sum with the bytes wraps around.
  bool is_in_last(uint64_t address, size_t bytes) const {
    return begin_ <= address && address <= end_ && bytes <= end_ - address;
  }
  bool find(uint64_t address, size_t bytes);

  std::mutex mutex_;
  std::map<uint64_t, uint64_t> ends_;  // by begin
  uint64_t begin_ = 1, end_ = 0;       // of the allocation found last
};

// Shared memory of a block or local memory of a thread: its bytes, and which of them were written.
class OwnMemory {
 public:
  void reset(size_t bytes);
  bool holds(uint64_t offset, size_t bytes) const { return offset <= bytes_.size() && bytes <= bytes_.size() - offset; }
  uint8_t* at(uint64_t offset) { return bytes_.data() + offset; }
  bool is_written(uint64_t offset, size_t bytes) const;
  void note_written(uint64_t offset, size_t bytes);

 private:
  std::vector<uint8_t> bytes_, written_;
};

}  // namespace ptx
