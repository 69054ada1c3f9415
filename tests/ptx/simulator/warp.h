// A warp: 32 lanes, each at an instruction of its own. Those that are furthest behind go first, together with all that
// stand at the same instruction.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "instruction.h"

namespace ptx {

class Block;

// What a lane knows of the others': which of their accesses come before its own.
class LaneClocks {
 public:
  void reset();
  // The lanes know of each other's accesses up to now.
  void meet(uint32_t lanes);
  uint32_t now(int lane) const { return known_[lane][lane]; }
  bool knows(int lane, int other, uint32_t time) const { return known_[lane][other] >= time; }

 private:
  std::array<std::array<uint32_t, kLanes>, kLanes> known_;
  uint32_t last_ = 1;
};

class Warp {
 public:
  void start(Block& block, uint32_t index, uint32_t lanes);
  // Until every lane has ended, waits for lanes that do not come, or waits at a barrier.
  void run();
  void pass_barrier();
  void synchronize(uint32_t lanes) { clocks_.meet(lanes); }

  Block& block() const { return *block_; }
  uint32_t index() const { return index_; }
  uint32_t thread(int lane) const { return index_ * kLanes + lane; }
  uint32_t live() const { return live_; }
  uint32_t at_barrier() const { return at_barrier_; }
  uint32_t waiting_for_lanes() const { return waiting_ & live_; }
  const Instruction& instruction_of(int lane) const;
  const LaneClocks& clocks() const { return clocks_; }

  uint64_t* result(const Instruction& i, int index) {
    return i.results[index] < 0 ? thrown_away_.data() : row(i.results[index]);
  }
  const uint64_t* source(const Instruction& i, int index) const { return source(i.sources[index]); }
  const uint64_t* source(Source source) const {
    return source.row < 0 ? constants_ + ~source.row * kLanes : registers_.data() + source.row * kLanes;
  }
  bool predicate(Source source, int lane) const { return (this->source(source)[lane] & 1) != source.negated; }
  uint32_t lanes_where(Source predicate, uint32_t lanes) const;

  // Where the lanes of the last memory instruction went, for the observer.
  std::array<uint64_t, kLanes> addresses;

 private:
  uint64_t* row(int index) { return registers_.data() + index * kLanes; }
  void set_specials();
  void run_together(uint32_t lanes, uint32_t at, uint32_t next);
  void move(uint32_t lanes, uint32_t to);
  void meet_lanes(const Instruction& i, uint32_t at, uint32_t arrived);

  Block* block_ = nullptr;
  const Kernel* kernel_ = nullptr;
  const uint64_t* constants_ = nullptr;
  uint32_t index_ = 0, live_ = 0, waiting_ = 0, at_barrier_ = 0;
  std::array<uint32_t, kLanes> at_;  // of each lane, the instruction that comes next
  std::vector<uint64_t> registers_;
  std::array<uint64_t, kLanes> thrown_away_;
  LaneClocks clocks_;
};

}  // namespace ptx
