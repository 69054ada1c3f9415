// A model of what a launch takes on GPUs. It watches the executor, once for all machines; what an instruction costs is
// told from outside.
#pragma once

#include <cstdint>
#include <vector>

#include "clocks.h"
#include "observer.h"
#include "traffic.h"

namespace ptx {

// What a kernel's instructions cost, and the registers of a thread.
struct KernelCost {
  std::vector<InstructionCost> instructions;
  uint32_t registers = 64;
};

class CostModel : public Observer {
 public:
  CostModel(const std::vector<MachineCost>& machines, const KernelCost& kernel);
  void start_block(const Block& block) override;
  void issue(const Warp& warp, const Instruction& i, uint32_t lanes) override;
  void pass_barrier(const Block& block) override;
  void end_block(const Block& block) override;
  // On each machine.
  std::vector<LaunchCost> total(uint32_t threads, uint32_t shared_bytes) const;

 private:
  const KernelCost& kernel_;
  std::vector<Clocks> machines_;
  Traffic traffic_;
  uint64_t instructions_ = 0, fp64_instructions_ = 0;
};

}  // namespace ptx
