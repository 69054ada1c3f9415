#include "block.h"

#include <algorithm>
#include <bit>

#include "errors.h"
#include "exchange.h"

namespace ptx {

void Block::run(uint64_t index) {
  start(index);
  if (observer() != nullptr) observer()->start_block(*this);
  while (const uint32_t live = run_warps()) pass_barrier(live);
  if (observer() != nullptr) observer()->end_block(*this);
}

void Block::start(uint64_t index) {
  index_ = index;
  epoch_ = 0;
  warps_.resize((launch_.threads + kLanes - 1) / kLanes);
  order_.resize(warps_.size());
  for (uint32_t warp = 0; warp < warps_.size(); ++warp) {
    warps_[warp].start(*this, warp, std::min<uint32_t>(kLanes, launch_.threads - warp * kLanes));
    order_[warp] = warp;
  }
  shared_.reset(kernel().shared_bytes + launch_.dynamic_shared);
  local_.resize(launch_.threads);
  for (OwnMemory& memory : local_) memory.reset(kernel().local_bytes);
  if (launch_.races != nullptr) launch_.races->start_block();
}

// How many threads have not ended.
uint32_t Block::run_warps() {
  if (launch_.random != nullptr) std::shuffle(order_.begin(), order_.end(), *launch_.random);
  uint32_t live = 0;
  for (const uint32_t warp : order_) {
    warps_[warp].run();
    live += std::popcount(warps_[warp].live());
  }
  return live;
}

void Block::pass_barrier(uint32_t live) {
  check_barrier(live);
  reduce_at_barrier(warps_);
  for (Warp& warp : warps_) warp.pass_barrier();
  ++epoch_;
  if (observer() != nullptr) observer()->pass_barrier(*this);
}

// Nobody can go on but by a barrier: all must stand at the same one.
void Block::check_barrier(uint32_t live) {
  const Instruction* met = nullptr;
  for (const Warp& warp : warps_) {
    for (uint32_t left = warp.live(); left != 0; left &= left - 1) {
      const int lane = std::countr_zero(left);
      const Instruction& here = warp.instruction_of(lane);
      set_current(here);
      if (warp.waiting_for_lanes() >> lane & 1) {
        fail(warp, lane,
             "waits for lanes that do not come, " + std::to_string(live) + " threads being left: a deadlock");
      }
      if (met != nullptr && met != &here) {
        fail(warp, lane, "waits at this barrier, others of its block at line " + std::to_string(met->line));
      }
      met = &here;
    }
  }
}

// Threads of a block are in a row.
uint64_t Block::value_of(const Special& special, uint32_t thread) const {
  const uint64_t x = launch_.grid[0], y = launch_.grid[1];
  const uint64_t place[] = {index_ % x, index_ / x % y, index_ / x / y};
  switch (special.kind) {
    case Special::Kind::kTid:
      return special.axis == 0 ? thread : 0;
    case Special::Kind::kNtid:
      return special.axis == 0 ? launch_.threads : 1;
    case Special::Kind::kCtaid:
      return place[special.axis];
    case Special::Kind::kNctaid:
      return launch_.grid[special.axis];
    case Special::Kind::kLaneId:
      return thread % kLanes;
    case Special::Kind::kWarpId:
      return thread / kLanes;
  }
  return 0;
}

void Block::fail(const Warp& warp, int lane, const std::string& fact) const {
  throw Error(kernel().name, *current_,
              "thread " + std::to_string(warp.thread(lane)) + " of block " + std::to_string(index_) + " " + fact);
}

}  // namespace ptx
