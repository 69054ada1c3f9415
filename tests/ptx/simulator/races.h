// Accesses that nothing orders. In a warp, lanes are ordered by bar.warp.sync; in a block, threads by its barrier;
// between blocks nothing is, and only atomics (and other strong accesses) may meet unordered.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "access.h"
#include "instruction.h"

namespace ptx {

// An access, as far as later ones need it.
struct Past {
  uint32_t block = 0;  // counted over all launches; 0: no access
  uint32_t epoch = 0;  // barriers that the block had passed
  uint32_t time = 0;   // of the lane's own clock
  int32_t instruction = 0;
  uint16_t thread = 0;
  bool is_strong = false;
};

// A word of memory, or a byte where something touched less than a word.
struct Place {
  Past write;
  Past read;                // by the warp that read last,
  uint32_t read_lanes = 0;  // in these lanes
  Past far_read;            // and by another warp or block
};

// Places by address, made where they are touched.
class Places {
 public:
  template <class F>
  void each(uint64_t address, int bytes, F function);
  void forget_all() { pages_.clear(), last_ = nullptr; }
  size_t pages() const { return pages_.size(); }

 private:
  struct Page {
    int shift = 2;  // bytes of a place, as a power of 2
    std::vector<Place> places;
  };
  Page& page(uint64_t number);

  std::unordered_map<uint64_t, Page> pages_;
  uint64_t last_number_ = 0;
  Page* last_ = nullptr;
};

class Races {
 public:
  void start_launch();
  void start_block() { ++block_; }
  void note(Warp& warp, int lane, bool is_shared, uint64_t offset, int bytes, Touch touch, bool is_strong);
  // One line for each pair of lines that raced in this launch.
  const std::vector<std::string>& found() const { return found_; }

 private:
  void note_read(Place& place, const Past& me, int lane);
  bool orders_reads(const Place& place, const Warp& warp, int lane) const;
  bool is_before(const Past& past, const Warp& warp, int lane) const;
  bool is_past(const Past& past, bool is_shared) const { return past.block >= (is_shared ? block_ : first_block_); }
  void report(const Warp& warp, int lane, const char* did, const Past& past, const char* had);

  Places global_, shared_;
  uint32_t block_ = 0, first_block_ = 1;
  std::set<std::pair<int, int>> pairs_;
  std::vector<std::string> found_;
};

}  // namespace ptx
