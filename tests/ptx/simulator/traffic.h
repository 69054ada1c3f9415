// The GPU's memory that a launch touches, in sectors of 32 bytes: which of them a block has in its L1, and how many
// there are in all.
#pragma once

#include <bitset>
#include <cstdint>
#include <unordered_map>

#include "instruction.h"

namespace ptx {

class Warp;

// What the lanes of one access touch: how many sectors, and whether the block has read them all before.
struct Touched {
  int sectors = 0;
  bool is_near = true;
};

class Traffic {
 public:
  void start_block() { ++block_; }
  Touched touch(const Warp& warp, const Instruction& i, uint32_t lanes);
  uint64_t sectors() const { return sectors_; }

 private:
  static constexpr int kSectors = 128;
  struct Page {
    std::bitset<kSectors> of_launch, read;
    uint64_t reader = 0;  // the block that has read these
  };
  Page& page(uint64_t number);

  std::unordered_map<uint64_t, Page> pages_;
  uint64_t last_number_ = 0;
  Page* last_ = nullptr;
  uint64_t block_ = 0, sectors_ = 0;
};

}  // namespace ptx
