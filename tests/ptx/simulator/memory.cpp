#include "memory.h"

#include <algorithm>
#include <iterator>
#include <tuple>

namespace ptx {

bool Memory::add(uint64_t address, size_t bytes) {
  const std::lock_guard lock(mutex_);
  return ends_.emplace(address, address + bytes).second;
}

void Memory::remove(uint64_t address) {
  const std::lock_guard lock(mutex_);
  ends_.erase(address);
}

bool Memory::find(uint64_t address, size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto behind = ends_.upper_bound(address);
  if (behind == ends_.begin()) return false;
  std::tie(begin_, end_) = *std::prev(behind);
  return is_in_last(address, bytes);
}

void OwnMemory::reset(size_t bytes) {
  bytes_.assign(bytes, 0xa5);
  written_.assign(bytes, 0);
}

bool OwnMemory::is_written(uint64_t offset, size_t bytes) const {
  const auto first = written_.begin() + offset;
  return std::all_of(first, first + bytes, [](uint8_t written) { return written != 0; });
}

void OwnMemory::note_written(uint64_t offset, size_t bytes) { std::fill_n(written_.begin() + offset, bytes, 1); }

}  // namespace ptx
