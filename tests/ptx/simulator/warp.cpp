#include "warp.h"

#include <algorithm>
#include <bit>

#include "block.h"
#include "lanes.h"
#include "observer.h"

namespace ptx {

void LaneClocks::reset() {
  last_ = 1;
  for (int lane = 0; lane < kLanes; ++lane) {
    known_[lane].fill(0);
    known_[lane][lane] = last_;
  }
}

void LaneClocks::meet(uint32_t lanes) {
  std::array<uint32_t, kLanes> joined{};
  each_lane(lanes, [&](int lane) {
    for (int other = 0; other < kLanes; ++other) joined[other] = std::max(joined[other], known_[lane][other]);
  });
  ++last_;
  each_lane(lanes, [&](int lane) {
    known_[lane] = joined;
    known_[lane][lane] = last_;
  });
}

void Warp::start(Block& block, uint32_t index, uint32_t lanes) {
  block_ = &block;
  kernel_ = &block.kernel();
  constants_ = block.constants();
  index_ = index;
  live_ = lanes == kLanes ? kAllLanes : (1u << lanes) - 1;
  waiting_ = at_barrier_ = 0;
  at_.fill(0);
  registers_.assign(size_t(kernel_->registers) * kLanes, 0xa5a5a5a5a5a5a5a5u);
  clocks_.reset();
  set_specials();
}

void Warp::set_specials() {
  for (const Special& special : kernel_->specials) {
    uint64_t* values = row(special.row);
    for (int lane = 0; lane < kLanes; ++lane) values[lane] = block_->value_of(special, thread(lane));
  }
}

const Instruction& Warp::instruction_of(int lane) const { return kernel_->code[at_[lane]]; }

uint32_t Warp::lanes_where(Source predicate, uint32_t lanes) const {
  const uint64_t* values = source(predicate);
  uint32_t found = 0;
  for (int lane = 0; lane < kLanes; ++lane) found |= static_cast<uint32_t>(values[lane] & 1) << lane;
  return (predicate.negated ? ~found : found) & lanes;
}

void Warp::run() {
  while (uint32_t ready = live_ & ~waiting_ & ~at_barrier_) {
    uint32_t least = UINT32_MAX, next = UINT32_MAX, lanes = 0;
    for (; ready != 0; ready &= ready - 1) {
      const int lane = std::countr_zero(ready);
      if (at_[lane] < least) {
        next = least;
        least = at_[lane];
        lanes = 0;
      } else if (at_[lane] > least) {
        next = std::min(next, at_[lane]);
      }
      if (at_[lane] == least) lanes |= 1u << lane;
    }
    run_together(lanes, least, next);
  }
}

// Lanes at one place go on until they part, wait, or reach the next lanes.
void Warp::run_together(uint32_t lanes, uint32_t at, uint32_t next) {
  Observer* observer = block_->observer();
  const Instruction* code = kernel_->code.data();
  while (at < next) {
    const Instruction& i = code[at];
    const uint32_t active = i.guarded ? lanes_where(i.guard, lanes) : lanes;
    block_->set_current(i);
    if (i.flow == Flow::kNext) [[likely]] {
      if (active != 0) i.execute(*this, i, active);
      if (observer != nullptr) observer->issue(*this, i, active);
      ++at;
      continue;
    }
    if (observer != nullptr && i.flow != Flow::kMeetLanes) observer->issue(*this, i, active);
    if (i.flow == Flow::kBranch && (active == lanes || active == 0)) {
      at = active == 0 ? at + 1 : i.target;
      continue;
    }
    move(lanes & ~active, at + 1);
    move(active, i.flow == Flow::kBranch ? i.target : at);
    if (i.flow == Flow::kExit) {
      live_ &= ~active;
      waiting_ = 0;
    } else if (i.flow == Flow::kMeetBlock) {
      at_barrier_ |= active;
    } else if (i.flow == Flow::kMeetLanes) {
      meet_lanes(i, at, active);
    }
    return;
  }
  move(lanes, at);
}

void Warp::move(uint32_t lanes, uint32_t to) {
  each_lane(lanes, [&](int lane) { at_[lane] = to; });
}

// Runs the instruction for every mask whose lanes have all come; the others wait.
void Warp::meet_lanes(const Instruction& i, uint32_t at, uint32_t arrived) {
  uint32_t here = arrived;
  each_lane(waiting_ & live_, [&](int lane) { here |= uint32_t(at_[lane] == at) << lane; });
  waiting_ &= ~here;
  const uint64_t* masks = i.whole_warp ? nullptr : source(i, i.source_count - 1);
  while (here != 0) {
    const int first = std::countr_zero(here);
    const uint32_t mask = masks == nullptr ? kAllLanes : static_cast<uint32_t>(masks[first]);
    if ((mask >> first & 1) == 0) block_->fail(*this, first, "is not in its own mask");
    uint32_t same = 0;
    each_lane(here & mask, [&](int lane) {
      same |= uint32_t(masks == nullptr || static_cast<uint32_t>(masks[lane]) == mask) << lane;
    });
    const uint32_t members = mask & live_;
    if (same == members) {
      i.execute(*this, i, members);
      if (block_->observer() != nullptr) block_->observer()->issue(*this, i, members);
      move(members, at + 1);
    } else if ((here & members) == members) {
      block_->fail(*this, first, "has another mask than a lane that its mask names");
    } else {
      waiting_ |= same;
    }
    here &= ~same;
  }
}

void Warp::pass_barrier() {
  each_lane(at_barrier_, [&](int lane) { ++at_[lane]; });
  at_barrier_ = 0;
  clocks_.reset();
}

}  // namespace ptx
