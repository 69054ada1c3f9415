#include "cost.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>

#include "block.h"
#include "lanes.h"

namespace ptx {

void CostModel::start_block(const Block& block) {
  warps_.assign(block.warps().size(), {});
  for (Progress& warp : warps_) warp.ready.assign(block.kernel().registers, 0);
  cached_.clear();
}

void CostModel::issue(const Warp& warp, const Instruction& i, uint32_t lanes) {
  const InstructionCost& cost = kernel_.instructions[&i - warp.block().kernel().code.data()];
  Progress& progress = warps_[warp.index()];
  double begin = progress.now;
  const auto wait_for = [&](Source source) {
    if (source.row >= 0) begin = std::max(begin, progress.ready[source.row]);
  };
  if (i.guarded) wait_for(i.guard);
  for (int k = 0; k < i.source_count; ++k) wait_for(i.sources[k]);
  progress.now = begin + cost.issue;
  const double ready = begin + latency(warp, i, cost, lanes);
  for (int k = 0; k < i.result_count; ++k) {
    if (i.results[k] >= 0) progress.ready[i.results[k]] = ready;
  }
  progress.at_barrier = i.flow == Flow::kMeetBlock;
  issued_ += cost.issue;
  integer_ += cost.integer;
  fp64_ += cost.fp64;
  ++instructions_;
  fp64_instructions_ += cost.fp64 > 0;
}

double CostModel::latency(const Warp& warp, const Instruction& i, const InstructionCost& cost, uint32_t lanes) {
  if (i.access.bytes == 0 || lanes == 0) return cost.latency;
  switch (i.access.space) {
    case Space::kParameter:
      return cost.latency;
    case Space::kShared:
      return i.access.is_atomic ? machine_.shared_atomic_latency : machine_.shared_latency;
    case Space::kLocal:
      return machine_.l1_latency;
    default:
      return i.access.is_atomic ? machine_.atomic_latency : global_latency(warp, i, lanes);
  }
}

// That of the slowest sector, and a cycle for each two beyond those that one request takes.
double CostModel::global_latency(const Warp& warp, const Instruction& i, uint32_t lanes) {
  std::array<uint64_t, 2 * kLanes> sectors;
  int count = 0;
  each_lane(lanes, [&](int lane) {
    const uint64_t address = warp.addresses[lane];
    sectors[count++] = address / 32;
    if ((address + i.access.total() - 1) / 32 != address / 32) sectors[count++] = address / 32 + 1;
  });
  std::sort(sectors.begin(), sectors.begin() + count);
  count = static_cast<int>(std::unique(sectors.begin(), sectors.begin() + count) - sectors.begin());
  const bool is_load = i.result_count > 0;
  double latency = machine_.l1_latency;
  for (int k = 0; k < count; ++k) {
    if (cached_.contains(sectors[k])) continue;
    latency = machine_.l2_latency;
    if (is_load) cached_.insert(sectors[k]);
  }
  return latency + std::max(0, count - static_cast<int>(machine_.free_sectors)) / 2.0;
}

void CostModel::pass_barrier(const Block&) {
  double last = 0;
  for (const Progress& warp : warps_) last = warp.at_barrier ? std::max(last, warp.now) : last;
  for (Progress& warp : warps_) {
    if (warp.at_barrier) warp.now = last + machine_.barrier;
    warp.at_barrier = false;
  }
}

void CostModel::end_block(const Block& block) {
  if (block_cycles_.size() <= block.index()) block_cycles_.resize(block.index() + 1);
  for (const Progress& warp : warps_) {
    block_cycles_[block.index()] = std::max(block_cycles_[block.index()], warp.now);
  }
}

// How many blocks a multiprocessor holds.
uint64_t CostModel::blocks_at_once(uint32_t threads, uint32_t shared_bytes) const {
  const uint32_t warps = (threads + kLanes - 1) / kLanes;
  const uint32_t registers = (kernel_.registers + 7) / 8 * 8 * kLanes * warps;  // given out by 8 a thread
  uint32_t most = std::min({machine_.blocks, machine_.warps / warps, machine_.registers / registers});
  if (shared_bytes > 0) most = std::min(most, machine_.shared_bytes / (shared_bytes + machine_.reserved_shared_bytes));
  return std::max(most, 1u);
}

// Blocks go, in the order of the grid, to whichever place is free first.
LaunchCost CostModel::total(uint32_t threads, uint32_t shared_bytes) const {
  LaunchCost cost;
  cost.blocks = block_cycles_.size();
  cost.blocks_at_once = blocks_at_once(threads, shared_bytes);
  cost.instructions = instructions_;
  cost.fp64_instructions = fp64_instructions_;
  std::priority_queue<double, std::vector<double>, std::greater<>> free_at;
  for (uint64_t place = 0; place < machine_.multiprocessors * cost.blocks_at_once; ++place) free_at.push(0);
  for (const double cycles : block_cycles_) {
    const double end = free_at.top() + cycles + machine_.start_of_block;
    free_at.pop();
    free_at.push(end);
    cost.makespan = std::max(cost.makespan, end);
    cost.longest_block = std::max(cost.longest_block, cycles);
  }
  cost.mean_block = std::accumulate(block_cycles_.begin(), block_cycles_.end(), 0.0) / std::max<size_t>(1, cost.blocks);
  cost.throughput_bound = std::max({issued_, integer_, fp64_}) / (4.0 * machine_.multiprocessors);
  return cost;
}

}  // namespace ptx
