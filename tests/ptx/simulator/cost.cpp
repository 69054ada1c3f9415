#include "cost.h"

#include "block.h"

namespace ptx {
namespace {

constexpr uint64_t kSectorBytes = 32;

bool is_in_gpu_memory(const Access& access) {
  return access.bytes != 0 && (access.space == Space::kGlobal || access.space == Space::kGeneric);
}

}  // namespace

CostModel::CostModel(const std::vector<MachineCost>& machines, const KernelCost& kernel)
    : kernel_(kernel), machines_(machines.begin(), machines.end()) {}

void CostModel::start_block(const Block& block) {
  for (Clocks& machine : machines_) machine.start_block(block.warps().size(), block.kernel().registers);
  traffic_.start_block();
}

void CostModel::issue(const Warp& warp, const Instruction& i, uint32_t lanes) {
  const InstructionCost& cost = kernel_.instructions[&i - warp.block().kernel().code.data()];
  const Touched touched = is_in_gpu_memory(i.access) ? traffic_.touch(warp, i, lanes) : Touched{};
  for (Clocks& machine : machines_) machine.issue(warp.index(), i, cost, lanes, touched);
  ++instructions_;
  if (cost.fp64 > 0 || cost.converted > 0) ++fp64_instructions_;
}

void CostModel::pass_barrier(const Block&) {
  for (Clocks& machine : machines_) machine.pass_barrier();
}

void CostModel::end_block(const Block& block) {
  for (Clocks& machine : machines_) machine.end_block(block.index());
}

std::vector<LaunchCost> CostModel::total(uint32_t threads, uint32_t shared_bytes) const {
  const uint32_t warps = (threads + kLanes - 1) / kLanes;
  std::vector<LaunchCost> costs;
  for (const Clocks& machine : machines_) {
    const uint64_t at_once = machine.blocks_at_once(warps, kernel_.registers, shared_bytes);
    LaunchCost& cost = costs.emplace_back(machine.total(at_once, traffic_.sectors() * kSectorBytes));
    cost.instructions = instructions_;
    cost.fp64_instructions = fp64_instructions_;
  }
  return costs;
}

}  // namespace ptx
