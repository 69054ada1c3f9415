// The simulator as other languages see it. Errors are text, null where there is none, and live until the next call.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cost.h"

extern "C" {
const char* simulator_load(const char* text);  // of encode.py
const char* simulator_launch(const char* name, const uint32_t* grid, uint32_t threads, uint32_t dynamic_shared,
                             const void* parameters);
// The order of blocks and warps is drawn from it.
void simulator_set_seed(uint64_t seed);
void simulator_look_for_races(bool look);
// Memory that kernels may touch; false: it is known already.
bool simulator_add_memory(const void* address, size_t bytes);
void simulator_remove_memory(const void* address);
// What 8 bytes of fresh memory hold.
uint64_t simulator_unwritten();
// What the instructions of a loaded kernel cost, in the order of its text, and the registers of its threads.
const char* simulator_set_costs(const char* name, const ptx::InstructionCost* costs, size_t count, uint32_t registers);
// Launches of kernels whose costs are known are measured on these machines.
void simulator_measure(const ptx::MachineCost* machines, size_t count);
// Of the last launch that was measured, on one of them.
ptx::LaunchCost simulator_last_cost(size_t machine);
}
