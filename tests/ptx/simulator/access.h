// Loads, stores and atomics of every state space, and all that can be wrong with them.
#pragma once

#include <cstdint>

#include "instruction.h"
#include "warp.h"

namespace ptx {

enum class Touch : uint8_t { kRead, kWrite, kWriteSame, kAtomic };

// A lane's memory: where it lies in the host's, and in which space of the machine.
struct Located {
  uint8_t* bytes;
  Space space;
  uint64_t offset;  // of its space; the address itself where that is global
};

// Address, bounds and alignment of `bytes` bytes.
Located locate(Warp& warp, const Instruction& i, int lane, uint64_t address, int bytes);
// Checks an access against those before it.
void check_order(Warp& warp, int lane, const Located& place, int bytes, Touch touch, bool is_strong);
// Fails where nobody wrote what is read.
void check_written(Warp& warp, int lane, const Located& place, int bytes);
// Checks a store's order, and does it.
void write(Warp& warp, int lane, const Located& place, const uint8_t* values, int bytes, bool is_strong);
void note_written(Warp& warp, int lane, const Located& place, int bytes);
uint64_t load_value(const uint8_t* bytes, int count, bool is_signed);

void load(Warp& warp, const Instruction& i, uint32_t lanes);
void load_parameter(Warp& warp, const Instruction& i, uint32_t lanes);
void store(Warp& warp, const Instruction& i, uint32_t lanes);
// The function of an atomic operation, as {"add", "u32"}; null: unknown.
Execute find_atomic(const std::string& operation, const std::string& type);

}  // namespace ptx
