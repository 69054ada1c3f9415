#include "races.h"

#include <bit>

#include "block.h"

namespace ptx {
namespace {

constexpr uint64_t kPage = 4096;
constexpr size_t kMostPages = 4096;  // of global memory, before a launch forgets those of launches before it

}  // namespace

Places::Page& Places::page(uint64_t number) {
  if (last_ == nullptr || number != last_number_) {
    last_ = &pages_[number];
    last_number_ = number;
    if (last_->places.empty()) last_->places.resize(kPage >> last_->shift);
  }
  return *last_;
}

// An aligned access never reaches into the next page.
template <class F>
void Places::each(uint64_t address, int bytes, F function) {
  Page& found = page(address / kPage);
  if (bytes < 4 && found.shift == 2) {  // from now on this page counts in bytes
    std::vector<Place> places(kPage);
    for (uint64_t k = 0; k < kPage; ++k) places[k] = found.places[k / 4];
    found.places.swap(places);
    found.shift = 0;
  }
  const uint64_t first = address % kPage >> found.shift, last = (address + bytes - 1) % kPage >> found.shift;
  for (uint64_t k = first; k <= last; ++k) function(found.places[k]);
}

void Races::start_launch() {
  first_block_ = block_ + 1;
  pairs_.clear();
  found_.clear();
  if (global_.pages() > kMostPages) global_.forget_all();
}

bool Races::is_before(const Past& past, const Warp& warp, int lane) const {
  if (past.block != block_) return false;
  if (past.thread == warp.thread(lane) || past.epoch < warp.block().epoch()) return true;
  return past.thread / kLanes == warp.index() && warp.clocks().knows(lane, past.thread % kLanes, past.time);
}

void Races::note(Warp& warp, int lane, bool is_shared, uint64_t offset, int bytes, Touch touch, bool is_strong) {
  const auto instruction = static_cast<int32_t>(&warp.block().current() - warp.block().kernel().code.data());
  const Past me = {
      block_,   warp.block().epoch(), warp.clocks().now(lane), instruction, static_cast<uint16_t>(warp.thread(lane)),
      is_strong};
  const bool writes = touch != Touch::kRead;
  const char* did = touch == Touch::kRead ? "reads" : touch == Touch::kAtomic ? "updates" : "writes";
  (is_shared ? shared_ : global_).each(offset, bytes, [&](Place& place) {
    const auto clashes = [&](const Past& past) {
      return is_past(past, is_shared) && !(past.is_strong && is_strong) && !is_before(past, warp, lane);
    };
    if (clashes(place.write)) {
      if (touch == Touch::kWriteSame) return;  // the value that is there already: either order gives it
      report(warp, lane, did, place.write, "wrote");
    }
    if (!writes) {
      if (!is_past(place.read, is_shared)) place.read = place.far_read = {};
      note_read(place, me, lane);
      return;
    }
    if (clashes(place.far_read)) report(warp, lane, did, place.far_read, "read");
    if (is_past(place.read, is_shared) && !(place.read.is_strong && is_strong) && !orders_reads(place, warp, lane)) {
      report(warp, lane, did, place.read, "read");
    }
    place = {me, {}, 0, {}};
  });
}

// Two readers of different warps, or one of another block, are enough: every later write races with one of them or
// none.
void Races::note_read(Place& place, const Past& me, int lane) {
  const Past& past = place.read;
  const bool same_warp = past.block == me.block && past.thread / kLanes == me.thread / kLanes;
  if (same_warp && past.epoch == me.epoch && past.time == me.time) {
    place.read_lanes |= 1u << lane;
    return;
  }
  const bool may_matter = past.block != 0 && (past.block != me.block || past.epoch == me.epoch);
  if (may_matter && !same_warp && (place.far_read.block == 0 || place.far_read.block == me.block)) {
    place.far_read = past;
  }
  place.read = me;
  place.read_lanes = 1u << lane;
}

bool Races::orders_reads(const Place& place, const Warp& warp, int lane) const {
  Past past = place.read;
  const int warp_begins = past.thread / kLanes * kLanes;
  for (uint32_t left = place.read_lanes; left != 0; left &= left - 1) {
    past.thread = static_cast<uint16_t>(warp_begins + std::countr_zero(left));
    if (!is_before(past, warp, lane)) return false;
  }
  return true;
}

void Races::report(const Warp& warp, int lane, const char* did, const Past& past, const char* had) {
  const Instruction &now = warp.block().current(), &then = warp.block().kernel().code[past.instruction];
  if (!pairs_.insert({now.line, then.line}).second) return;
  const std::string whose = past.block == block_ ? "of this block" : "of another block";
  found_.push_back(warp.block().kernel().name + ": line " + std::to_string(now.line) + ", " + now.opcode + ": thread " +
                   std::to_string(warp.thread(lane)) + " of block " + std::to_string(warp.block().index()) + " " + did +
                   " what thread " + std::to_string(past.thread) + " " + whose + " " + had + " at line " +
                   std::to_string(then.line) + " (" + then.opcode + "), and nothing orders them: a race");
}

}  // namespace ptx
