// The C interface: one simulator a process, errors as text.
#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "api.h"
#include "block.h"
#include "decode.h"

namespace ptx {
namespace {

constexpr uint32_t kMostSharedBytes = 227 * 1024;

// What a GPU would refuse to launch.
void check_launch(const Kernel& kernel, const uint32_t* grid, uint32_t threads, uint32_t dynamic_shared) {
  const auto fail = [&](const std::string& fact) { throw std::runtime_error(kernel.name + ": " + fact); };
  const uint32_t shared = kernel.shared_bytes + dynamic_shared;
  if (threads == 0 || threads > 1024) fail("a block must have 1 to 1024 threads, got " + std::to_string(threads));
  for (int axis = 0; axis < 3; ++axis) {
    if (grid[axis] == 0 || grid[axis] > (axis == 0 ? 0x7fffffffu : 65535u)) {
      fail("a grid must have 1 to 2^31 - 1 blocks in x and 1 to 65535 in y and z, got " + std::to_string(grid[0]) +
           " x " + std::to_string(grid[1]) + " x " + std::to_string(grid[2]));
    }
  }
  if (shared > kMostSharedBytes) {
    fail("a block must have at most 227 KiB of shared memory, got " + std::to_string(shared));
  }
}

class Simulator {
 public:
  void load(const char* text) {
    Kernel kernel = decode_kernel(text);
    kernels_[kernel.name] = std::move(kernel);
  }

  // Blocks one after the other, in random order; where they are measured, in the grid's, so that a cost is one number.
  void launch(const std::string& name, const uint32_t* grid, uint32_t threads, uint32_t dynamic_shared,
              const void* parameters) {
    const Kernel& kernel = kernels_.at(name);
    check_launch(kernel, grid, threads, dynamic_shared);
    std::vector<uint64_t> constants;
    for (const uint64_t bits : kernel.constants) constants.insert(constants.end(), kLanes, bits);
    Launch launch;
    launch.kernel = &kernel;
    std::copy_n(grid, 3, launch.grid);
    launch.threads = threads;
    launch.dynamic_shared = dynamic_shared;
    launch.parameters = static_cast<const uint8_t*>(parameters);
    launch.constants = constants.data();
    launch.memory = &memory;
    launch.races = looks_for_races ? &races_ : nullptr;
    std::unique_ptr<CostModel> model;
    if (!machines.empty() && costs_.contains(name)) model = std::make_unique<CostModel>(machines, costs_.at(name));
    launch.observer = model.get();
    launch.random = model == nullptr ? &random : nullptr;
    run_blocks(launch);
    if (model != nullptr) last_costs = model->total(threads, kernel.shared_bytes + dynamic_shared);
    if (looks_for_races) report_races();
  }

  void set_costs(const std::string& name, const InstructionCost* costs, size_t count, uint32_t registers) {
    if (count != kernels_.at(name).code.size()) {
      throw std::runtime_error(name + ": a cost for each instruction is needed");
    }
    costs_[name] = {{costs, costs + count}, registers};
  }

  Memory memory;
  std::mt19937_64 random;
  bool looks_for_races = true;
  std::string last_error;
  std::vector<MachineCost> machines;
  std::vector<LaunchCost> last_costs;

 private:
  void run_blocks(const Launch& launch) {
    std::vector<uint64_t> order(uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2]);
    std::iota(order.begin(), order.end(), 0);
    if (launch.random != nullptr) std::shuffle(order.begin(), order.end(), random);
    memory.start_launch();
    races_.start_launch();
    Block block(launch);
    for (const uint64_t index : order) block.run(index);
  }

  void report_races() const {
    const std::vector<std::string>& found = races_.found();
    if (found.empty()) return;
    const std::string more = found.size() > 1 ? " (" + std::to_string(found.size() - 1) + " more pairs of lines)" : "";
    throw std::runtime_error(found[0] + more);
  }

  std::map<std::string, Kernel> kernels_;
  std::map<std::string, KernelCost> costs_;
  Races races_;
};

// It outlives every tensor, whose end it is told of.
Simulator& simulator() {
  static Simulator& the_simulator = *new Simulator;
  return the_simulator;
}

// Null where the action succeeds, else its error, which lives until the next.
template <class Action>
const char* error_of(Action action) {
  try {
    action();
    return nullptr;
  } catch (const std::exception& error) {
    simulator().last_error = error.what();
    return simulator().last_error.c_str();
  }
}

}  // namespace
}  // namespace ptx

extern "C" {

const char* simulator_load(const char* text) {
  return ptx::error_of([=] { ptx::simulator().load(text); });
}

const char* simulator_launch(const char* name, const uint32_t* grid, uint32_t threads, uint32_t dynamic_shared,
                             const void* parameters) {
  return ptx::error_of([=] { ptx::simulator().launch(name, grid, threads, dynamic_shared, parameters); });
}

void simulator_set_seed(uint64_t seed) { ptx::simulator().random.seed(seed); }
void simulator_look_for_races(bool look) { ptx::simulator().looks_for_races = look; }
bool simulator_add_memory(const void* address, size_t bytes) {
  return ptx::simulator().memory.add(reinterpret_cast<uint64_t>(address), bytes);
}
void simulator_remove_memory(const void* address) {
  ptx::simulator().memory.remove(reinterpret_cast<uint64_t>(address));
}
uint64_t simulator_unwritten() { return ptx::kUnwritten; }

const char* simulator_set_costs(const char* name, const ptx::InstructionCost* costs, size_t count, uint32_t registers) {
  return ptx::error_of([=] { ptx::simulator().set_costs(name, costs, count, registers); });
}
void simulator_measure(const ptx::MachineCost* machines, size_t count) {
  ptx::simulator().machines.assign(machines, machines + count);
}
ptx::LaunchCost simulator_last_cost(size_t machine) { return ptx::simulator().last_costs.at(machine); }
}
