#include "exchange.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "block.h"
#include "lanes.h"

namespace ptx {
namespace {

// The lane that a lane's value comes from, and whether it lies in the lane's segment.
std::pair<int, bool> shuffle_source(Shuffle kind, int lane, uint32_t by, uint32_t limits) {
  const int step = by & 31, clamp = limits & 31, segment = limits >> 8 & 31;
  const int first = lane & segment, last = first | (clamp & ~segment);
  switch (kind) {
    case Shuffle::kUp:  // here the clamp is the least lane
      return {lane - step, lane - step >= last};
    case Shuffle::kDown:
      return {lane + step, lane + step <= last};
    case Shuffle::kButterfly:
      return {lane ^ step, (lane ^ step) <= last};
    case Shuffle::kIndex:
      return {first | (step & ~segment), (first | (step & ~segment)) <= last};
  }
  return {lane, false};
}

}  // namespace

void shuffle(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint64_t *values = warp.source(i, 0), *by = warp.source(i, 1), *limits = warp.source(i, 2);
  uint64_t taken[kLanes];
  uint32_t inside = 0;
  each_lane(lanes, [&](int lane) {
    auto [from, is_inside] = shuffle_source(Shuffle(i.variant), lane, by[lane], limits[lane]);
    if (!is_inside) from = lane;
    if ((lanes >> from & 1) == 0) {
      warp.block().fail(warp, lane, "takes the value of lane " + std::to_string(from) + ", which takes no part");
    }
    taken[lane] = static_cast<uint32_t>(values[from]);
    inside |= uint32_t{is_inside} << lane;
  });
  uint64_t* results = warp.result(i, 0);
  each_lane(lanes, [&](int lane) { results[lane] = taken[lane]; });
  if (i.result_count < 2) return;
  uint64_t* is_inside = warp.result(i, 1);
  each_lane(lanes, [&](int lane) { is_inside[lane] = inside >> lane & 1; });
}

void vote(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t yes = warp.lanes_where(i.sources[0], lanes);
  uint64_t outcome = yes;
  switch (Vote(i.variant)) {
    case Vote::kBallot:
      break;
    case Vote::kAny:
      outcome = yes != 0;
      break;
    case Vote::kAll:
      outcome = yes == lanes;
      break;
    case Vote::kUniform:
      outcome = yes == lanes || yes == 0;
      break;
  }
  uint64_t* results = warp.result(i, 0);
  each_lane(lanes, [&](int lane) { results[lane] = outcome; });
}

void reduce_lanes(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint64_t* values = warp.source(i, 0);
  const bool is_signed = i.access.is_signed;
  // Order-preserving: with the sign bit flipped, signed numbers compare as unsigned ones.
  const uint32_t flip = is_signed ? 0x80000000u : 0;
  const auto least = [=](uint32_t a, uint32_t b) { return std::min(a ^ flip, b ^ flip) ^ flip; };
  const auto most = [=](uint32_t a, uint32_t b) { return std::max(a ^ flip, b ^ flip) ^ flip; };
  const std::function<uint32_t(uint32_t, uint32_t)> functions[] = {
      std::plus<uint32_t>(), least, most, std::bit_and<uint32_t>(), std::bit_or<uint32_t>(), std::bit_xor<uint32_t>(),
  };
  auto total = static_cast<uint32_t>(values[std::countr_zero(lanes)]);
  each_lane(lanes & (lanes - 1), [&](int lane) { total = functions[i.variant](total, uint32_t(values[lane])); });
  uint64_t* results = warp.result(i, 0);
  each_lane(lanes, [&](int lane) { results[lane] = total; });
}

void synchronize_lanes(Warp& warp, const Instruction&, uint32_t lanes) { warp.synchronize(lanes); }

void name_active_lanes(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t* results = warp.result(i, 0);
  each_lane(lanes, [&](int lane) { results[lane] = lanes; });
}

namespace {

// Calls function(matrix, row, place) for the rows that a matrix instruction touches: lane 8 * matrix + row has the
// address.
template <class F>
void each_matrix_row(Warp& warp, const Instruction& i, uint32_t lanes, F function) {
  if (lanes != kAllLanes) warp.block().fail(warp, std::countr_zero(lanes), "moves matrices without a whole warp");
  for (int lane = 0; lane < 8 * i.access.count; ++lane) {
    const Located place = locate(warp, i, lane, warp.source(i, 0)[lane] + i.offset, 16);
    function(lane / 8, lane % 8, lane, place);
  }
}

// The lane that holds an element, and the bit of its register where the element begins.
std::pair<int, int> holder(const Instruction& i, int row, int column) {
  if (i.variant == 1) std::swap(row, column);
  return {row * 4 + column / 2, column % 2 * 16};
}

}  // namespace

void load_matrices(Warp& warp, const Instruction& i, uint32_t lanes) {
  uint64_t loaded[4][kLanes] = {};
  each_matrix_row(warp, i, lanes, [&](int matrix, int row, int lane, const Located& place) {
    check_written(warp, lane, place, 16);
    check_order(warp, lane, place, 16, Touch::kRead, false);
    for (int column = 0; column < 8; ++column) {
      const auto [of, bit] = holder(i, row, column);
      loaded[matrix][of] |= load_value(place.bytes + 2 * column, 2, false) << bit;
    }
  });
  for (int k = 0; k < i.access.count; ++k) std::copy_n(loaded[k], kLanes, warp.result(i, k));
}

void store_matrices(Warp& warp, const Instruction& i, uint32_t lanes) {
  each_matrix_row(warp, i, lanes, [&](int matrix, int row, int lane, const Located& place) {
    uint8_t values[16];
    for (int column = 0; column < 8; ++column) {
      const auto [of, bit] = holder(i, row, column);
      const auto value = static_cast<uint16_t>(warp.source(i, 1 + matrix)[of] >> bit);
      std::memcpy(values + 2 * column, &value, 2);
    }
    write(warp, lane, place, values, 16, false);
  });
}

void reduce_at_barrier(std::vector<Warp>& warps) {
  uint32_t yes = 0, all = 0;
  const Instruction* i = nullptr;
  for (const Warp& warp : warps) {
    if (warp.at_barrier() == 0) continue;
    i = &warp.instruction_of(std::countr_zero(warp.at_barrier()));
    if (BarrierReduction(i->variant) == BarrierReduction::kNone) return;
    yes += std::popcount(warp.lanes_where(i->sources[i->source_count - 1], warp.at_barrier()));
    all += std::popcount(warp.at_barrier());
  }
  const auto kind = BarrierReduction(i->variant);
  const uint64_t outcome = kind == BarrierReduction::kCount ? yes
                           : kind == BarrierReduction::kOr  ? yes > 0
                                                            : yes == all;
  for (Warp& warp : warps) {
    uint64_t* results = warp.result(*i, 0);
    each_lane(warp.at_barrier(), [&](int lane) { results[lane] = outcome; });
  }
}

}  // namespace ptx
