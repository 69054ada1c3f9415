#include "clocks.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>

#include "lanes.h"

namespace ptx {
namespace {

constexpr double kQuarters = 4;  // of a multiprocessor, each with pipes of its own

}  // namespace

double Clocks::Pipes::most() const { return std::max({issue, integer, fp64}); }

void Clocks::Pipes::add(const Pipes& other) {
  issue += other.issue;
  integer += other.integer;
  fp64 += other.fp64;
}

void Clocks::start_block(size_t warps, int registers) {
  warps_.resize(warps);
  for (Progress& warp : warps_) {
    warp.now = 0;
    warp.ready.assign(registers, 0);
    warp.at_barrier = false;
  }
  of_block_ = {};
}

void Clocks::issue(uint32_t warp, const Instruction& i, const InstructionCost& cost, uint32_t lanes, Touched touched) {
  Progress& progress = warps_[warp];
  double begin = progress.now;
  const auto wait_for = [&](Source source) {
    if (source.row >= 0) begin = std::max(begin, progress.ready[source.row]);
  };
  if (i.guarded) wait_for(i.guard);
  for (int k = 0; k < i.source_count; ++k) wait_for(i.sources[k]);
  progress.now = begin + cost.issue;
  const double ready = begin + latency(i, cost, lanes, touched);
  for (int k = 0; k < i.result_count; ++k) {
    if (i.results[k] >= 0) progress.ready[i.results[k]] = ready;
  }
  progress.at_barrier = i.flow == Flow::kMeetBlock;
  of_block_.issue += cost.issue;
  of_block_.integer += cost.integer;
  of_block_.fp64 += cost.fp64 * machine_.fp64_cycles + cost.converted * machine_.converted_cycles;
}

// Of memory, that of the slowest sector, and a cycle for each two beyond those that one request takes.
double Clocks::latency(const Instruction& i, const InstructionCost& cost, uint32_t lanes, Touched touched) const {
  if (i.access.bytes == 0 || lanes == 0) return cost.latency + (cost.fp64 + cost.converted) * machine_.fp64_wait;
  switch (i.access.space) {
    case Space::kParameter:
      return cost.latency;
    case Space::kShared:
      return i.access.is_atomic ? machine_.shared_atomic_latency : machine_.shared_latency;
    case Space::kLocal:
      return machine_.l1_latency;
    default:
      if (i.access.is_atomic) return machine_.atomic_latency;
      return (touched.is_near ? machine_.l1_latency : machine_.l2_latency) +
             std::max(0, touched.sectors - static_cast<int>(machine_.free_sectors)) / 2.0;
  }
}

void Clocks::pass_barrier() {
  double last = 0;
  for (const Progress& warp : warps_) {
    if (warp.at_barrier) last = std::max(last, warp.now);
  }
  for (Progress& warp : warps_) {
    if (warp.at_barrier) warp.now = last + machine_.barrier;
    warp.at_barrier = false;
  }
}

// Its slowest warp's time, and no less than its instructions need of the pipes of one multiprocessor.
void Clocks::end_block(uint64_t index) {
  if (block_cycles_.size() <= index) block_cycles_.resize(index + 1);
  double cycles = of_block_.most() / kQuarters;
  for (const Progress& warp : warps_) cycles = std::max(cycles, warp.now);
  block_cycles_[index] = cycles;
  of_launch_.add(of_block_);
}

// How many blocks a multiprocessor holds at a time.
uint64_t Clocks::blocks_at_once(uint32_t warps, uint32_t registers, uint32_t shared_bytes) const {
  const uint32_t given = (registers + 7) / 8 * 8 * kLanes * warps;  // given out by 8 a thread
  uint32_t most = std::min({machine_.blocks, machine_.warps / warps, machine_.registers / given});
  if (shared_bytes > 0) most = std::min(most, machine_.shared_bytes / (shared_bytes + machine_.reserved_shared_bytes));
  return std::max(most, 1u);
}

// Blocks go, in the order of the grid, to whichever place is free first.
LaunchCost Clocks::total(uint64_t blocks_at_once, uint64_t bytes) const {
  LaunchCost cost;
  cost.megahertz = machine_.megahertz;
  cost.blocks = block_cycles_.size();
  cost.blocks_at_once = blocks_at_once;
  cost.bytes = bytes;
  std::priority_queue<double, std::vector<double>, std::greater<>> free_at;
  for (uint64_t place = 0; place < machine_.multiprocessors * blocks_at_once; ++place) free_at.push(0);
  for (const double cycles : block_cycles_) {
    const double end = free_at.top() + cycles + machine_.start_of_block;
    free_at.pop();
    free_at.push(end);
    cost.makespan = std::max(cost.makespan, end);
    cost.longest_block = std::max(cost.longest_block, cycles);
  }
  cost.mean_block = std::accumulate(block_cycles_.begin(), block_cycles_.end(), 0.0) / std::max<size_t>(1, cost.blocks);
  cost.throughput_bound = of_launch_.most() / (kQuarters * machine_.multiprocessors);
  cost.memory_bound = bytes / machine_.bytes_per_cycle;
  return cost;
}

}  // namespace ptx
