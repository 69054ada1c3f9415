// A block: its warps in random turns, its shared and local memory, and its barrier.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "instruction.h"
#include "memory.h"
#include "observer.h"
#include "races.h"
#include "warp.h"

namespace ptx {

// What all blocks of a launch share.
struct Launch {
  const Kernel* kernel = nullptr;
  uint32_t grid[3] = {1, 1, 1};
  uint32_t threads = 0, dynamic_shared = 0;
  const uint8_t* parameters = nullptr;
  const uint64_t* constants = nullptr;  // rows of lanes
  Memory* memory = nullptr;
  Races* races = nullptr;  // null: not looked for
  Observer* observer = nullptr;
  std::mt19937_64* random = nullptr;  // null: warps take turns in order
};

class Block {
 public:
  explicit Block(const Launch& launch) : launch_(launch) {}
  void run(uint64_t index);

  const Launch& launch() const { return launch_; }
  const Kernel& kernel() const { return *launch_.kernel; }
  const uint64_t* constants() const { return launch_.constants; }
  Observer* observer() const { return launch_.observer; }
  uint64_t index() const { return index_; }
  uint32_t epoch() const { return epoch_; }
  uint64_t value_of(const Special& special, uint32_t thread) const;
  const std::vector<Warp>& warps() const { return warps_; }
  OwnMemory& shared() { return shared_; }
  OwnMemory& local(uint32_t thread) { return local_[thread]; }

  void set_current(const Instruction& i) { current_ = &i; }
  const Instruction& current() const { return *current_; }
  // An error of the current instruction: "thread 5 of block 3 FACT".
  [[noreturn]] void fail(const Warp& warp, int lane, const std::string& fact) const;

 private:
  void start(uint64_t index);
  uint32_t run_warps();
  void pass_barrier(uint32_t live);
  void check_barrier(uint32_t live);

  Launch launch_;
  uint64_t index_ = 0;
  uint32_t epoch_ = 0;
  std::vector<Warp> warps_;
  std::vector<uint32_t> order_;
  OwnMemory shared_;
  std::vector<OwnMemory> local_;
  const Instruction* current_ = nullptr;
};

}  // namespace ptx
