#include "traffic.h"

#include <algorithm>
#include <array>

#include "lanes.h"
#include "warp.h"

namespace ptx {

Touched Traffic::touch(const Warp& warp, const Instruction& i, uint32_t lanes) {
  std::array<uint64_t, 2 * kLanes> sectors;
  int count = 0;
  const auto add = [&](uint64_t sector) {
    if (count == 0 || sectors[count - 1] != sector) sectors[count++] = sector;
  };
  each_lane(lanes, [&](int lane) {
    add(warp.addresses[lane] / 32);
    add((warp.addresses[lane] + i.access.total() - 1) / 32);
  });
  std::sort(sectors.begin(), sectors.begin() + count);
  count = static_cast<int>(std::unique(sectors.begin(), sectors.begin() + count) - sectors.begin());
  const bool is_load = i.result_count > 0 && !i.access.is_atomic;
  Touched touched{count, true};
  for (int k = 0; k < count; ++k) {
    Page& here = page(sectors[k] / kSectors);
    const size_t sector = sectors[k] % kSectors;
    if (!here.of_launch[sector]) ++sectors_;
    here.of_launch.set(sector);
    if (!here.read[sector]) touched.is_near = false;
    if (is_load) here.read.set(sector);
  }
  return touched;
}

Traffic::Page& Traffic::page(uint64_t number) {
  if (last_ == nullptr || number != last_number_) {
    last_number_ = number;
    last_ = &pages_[number];
  }
  if (last_->reader != block_) {
    last_->read.reset();
    last_->reader = block_;
  }
  return *last_;
}

}  // namespace ptx
