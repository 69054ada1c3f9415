// Who watches a launch: told of every instruction that a warp issues, with the lanes that take part. The executor knows
// nothing of time.
#pragma once

#include <cstdint>

namespace ptx {

class Block;
class Warp;
struct Instruction;

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void start_block(const Block&) {}
  // Behind the instruction's effect; what it touched in memory stands in warp.addresses.
  virtual void issue(const Warp&, const Instruction&, uint32_t /*lanes*/) {}
  virtual void pass_barrier(const Block&) {}
  virtual void end_block(const Block&) {}
};

}  // namespace ptx
