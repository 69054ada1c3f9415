// What lanes of a warp, or threads of a block, tell each other without memory; and matrices, which a warp moves
// together.
#pragma once

#include <cstdint>
#include <vector>

#include "instruction.h"
#include "warp.h"

namespace ptx {

enum class Shuffle : uint8_t { kUp, kDown, kButterfly, kIndex };
enum class Vote : uint8_t { kBallot, kAny, kAll, kUniform };
enum class Reduction : uint8_t { kAdd, kMin, kMax, kAnd, kOr, kXor };
enum class BarrierReduction : uint8_t { kNone, kCount, kOr, kAnd };

void shuffle(Warp& warp, const Instruction& i, uint32_t lanes);
void vote(Warp& warp, const Instruction& i, uint32_t lanes);
void reduce_lanes(Warp& warp, const Instruction& i, uint32_t lanes);
void synchronize_lanes(Warp& warp, const Instruction& i, uint32_t lanes);
void name_active_lanes(Warp& warp, const Instruction& i, uint32_t lanes);
// 8 x 8 matrices of 16-bit values in shared memory; variant 1: transposed.
void load_matrices(Warp& warp, const Instruction& i, uint32_t lanes);
void store_matrices(Warp& warp, const Instruction& i, uint32_t lanes);
// The result of bar.red in every thread that waits; nothing at bar.sync.
void reduce_at_barrier(std::vector<Warp>& warps);

}  // namespace ptx
