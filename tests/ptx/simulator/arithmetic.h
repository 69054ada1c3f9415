// Instructions that compute a function in each lane, by their opcode.
#pragma once

#include <string>
#include <unordered_map>

#include "instruction.h"

namespace ptx {

using Table = std::unordered_map<std::string, Execute>;

void add_integers(Table& table);
void add_floats(Table& table);
void add_bits(Table& table);
void add_comparisons(Table& table);
void add_moves(Table& table);
void add_conversions(Table& table);

// How setp joins its outcome with a predicate.
enum class Join : uint8_t { kNone, kAnd, kOr, kXor };

// mov of values side by side in one register, into it and out of it.
void pack(Warp& warp, const Instruction& i, uint32_t lanes);
void unpack(Warp& warp, const Instruction& i, uint32_t lanes);

// Null where the opcode is not known.
Execute find_arithmetic(const std::string& opcode);

}  // namespace ptx
