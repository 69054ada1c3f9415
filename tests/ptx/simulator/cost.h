// A model of what a launch takes on a GPU: each warp a scoreboard of when its registers are ready, each block an L1 of
// its own, and blocks dealt to multiprocessors. It watches the executor; what an instruction costs is told from
// outside.
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "instruction.h"
#include "observer.h"

namespace ptx {

extern "C" {

// Of an instruction, in cycles of a quarter of a multiprocessor.
struct InstructionCost {
  uint32_t issue = 1;              // slots that it takes
  uint32_t latency = 4;            // until its results are ready; of memory, what the machine says
  uint32_t integer = 0, fp64 = 0;  // of the pipes that are narrower than a warp
};

struct MachineCost {
  uint32_t multiprocessors, warps, blocks, registers, shared_bytes;  // and of one: warps, blocks, ... at the same time
  uint32_t shared_latency, l1_latency, l2_latency, atomic_latency, shared_atomic_latency;
  uint32_t barrier, start_of_block;
  uint32_t free_sectors;  // 32-byte pieces that an access may touch before each two more cost a cycle
  uint32_t reserved_shared_bytes;
};

struct LaunchCost {
  double makespan = 0, throughput_bound = 0, longest_block = 0, mean_block = 0;  // cycles
  uint64_t blocks = 0, blocks_at_once = 0, instructions = 0, fp64_instructions = 0;
};
}

// What a kernel's instructions cost, and the registers of a thread.
struct KernelCost {
  std::vector<InstructionCost> instructions;
  uint32_t registers = 64;
};

class CostModel : public Observer {
 public:
  CostModel(const MachineCost& machine, const KernelCost& kernel) : machine_(machine), kernel_(kernel) {}
  void start_block(const Block& block) override;
  void issue(const Warp& warp, const Instruction& i, uint32_t lanes) override;
  void pass_barrier(const Block& block) override;
  void end_block(const Block& block) override;
  LaunchCost total(uint32_t threads, uint32_t shared_bytes) const;

 private:
  // A warp's own time, and when each register can be read.
  struct Progress {
    double now = 0;
    std::vector<double> ready;
    bool at_barrier = false;
  };
  double latency(const Warp& warp, const Instruction& i, const InstructionCost& cost, uint32_t lanes);
  double global_latency(const Warp& warp, const Instruction& i, uint32_t lanes);
  uint64_t blocks_at_once(uint32_t threads, uint32_t shared_bytes) const;

  MachineCost machine_;
  const KernelCost& kernel_;
  std::vector<Progress> warps_;
  std::unordered_set<uint64_t> cached_;  // sectors that the block has read
  std::vector<double> block_cycles_;     // in the order of the grid
  double issued_ = 0, integer_ = 0, fp64_ = 0;
  uint64_t instructions_ = 0, fp64_instructions_ = 0;
};

}  // namespace ptx
