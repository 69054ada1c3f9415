// One machine's time for a launch: each warp a scoreboard of when its registers are ready, a block no faster than its
// multiprocessor's pipes, and blocks dealt to multiprocessors.
#pragma once

#include <cstdint>
#include <vector>

#include "instruction.h"
#include "traffic.h"

namespace ptx {

extern "C" {

// Of an instruction, in cycles of a quarter of a multiprocessor.
struct InstructionCost {
  uint32_t issue = 1;      // slots that it takes
  uint32_t latency = 4;    // until its results are ready; of memory, what the machine says
  uint32_t integer = 0;    // of the pipe for integers
  uint32_t fp64 = 0;       // float64 operations, whose cycles the machine says
  uint32_t converted = 0;  // likewise conversions of 64 bits
};

struct MachineCost {
  uint32_t multiprocessors, warps, blocks, registers, shared_bytes;  // and of one: warps, blocks, ... at the same time
  uint32_t reserved_shared_bytes;
  uint32_t shared_latency, l1_latency, l2_latency, atomic_latency, shared_atomic_latency;
  uint32_t barrier, start_of_block;
  uint32_t free_sectors;                   // that an access may touch before each two more cost a cycle
  uint32_t fp64_cycles, converted_cycles;  // of the pipe, for a warp's operation
  uint32_t fp64_wait;                      // by which either is ready later than its latency says
  double megahertz, bytes_per_cycle;       // from memory
};

struct LaunchCost {
  double makespan = 0, throughput_bound = 0, memory_bound = 0, longest_block = 0, mean_block = 0;  // cycles
  double megahertz = 0;
  uint64_t blocks = 0, blocks_at_once = 0, instructions = 0, fp64_instructions = 0, bytes = 0;
};
}

class Clocks {
 public:
  explicit Clocks(const MachineCost& machine) : machine_(machine) {}
  void start_block(size_t warps, int registers);
  void issue(uint32_t warp, const Instruction& i, const InstructionCost& cost, uint32_t lanes, Touched touched);
  void pass_barrier();
  void end_block(uint64_t index);
  // Times of a launch whose multiprocessors hold so many blocks, and which moves so many bytes.
  LaunchCost total(uint64_t blocks_at_once, uint64_t bytes) const;
  uint64_t blocks_at_once(uint32_t warps, uint32_t registers, uint32_t shared_bytes) const;

 private:
  // A warp's own time, and when each register can be read.
  struct Progress {
    double now = 0;
    std::vector<double> ready;
    bool at_barrier = false;
  };
  // Cycles that instructions had of the pipes.
  struct Pipes {
    double issue = 0, integer = 0, fp64 = 0;
    double most() const;
    void add(const Pipes& other);
  };
  double latency(const Instruction& i, const InstructionCost& cost, uint32_t lanes, Touched touched) const;

  MachineCost machine_;
  std::vector<Progress> warps_;
  std::vector<double> block_cycles_;  // in the order of the grid
  Pipes of_block_, of_launch_;
};

}  // namespace ptx
