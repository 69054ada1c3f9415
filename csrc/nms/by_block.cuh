// Soft-NMS among many boxes, by a block, in rounds. Neighbours in the image form groups, which the warps share. A box
// is selected as soon as it leads every group whose boxes it may overlap: their scores only fall, so none can overtake
// it, and what one process over all boxes selects later cannot touch it. Boxes far apart are selected at the same time.
// A round has two steps with a barrier after each: who leads its surroundings is selected, and lowers the scores there.
// A group that is behind another asks first whether it still is. Small groups make few rounds and few pairs of
// boxes, but more pairs of groups. The warps' issue slots are the bound, and where boxes are few, a round's latency.
#pragma once

#include <functional>

#include "nms/boxes.cuh"

namespace yolox_ops {
namespace {

// Of so many a thread has 64 registers; short loops are not unrolled, for them to suffice.
constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;
constexpr int kGroupsOfWarp = 8;
constexpr int kGroups = kWarps * kGroupsOfWarp;

// Boxes of a group among n, so that all warps have some, and then all lanes.
__host__ __device__ constexpr int64_t boxes_of_group(int64_t n) {
  const int64_t fewest = (n + kGroups - 1) / kGroups, shared_out = (n + kWarps - 1) / kWarps;
  return fewest > kWarp ? fewest : shared_out < kWarp ? shared_out : kWarp;
}

// What the warps of a block tell each other.
template <class T>
struct Board {
  Leader<T> lead[kGroups];
  Box<T> hull[kGroups];      // of all boxes of the group that can overlap any
  int16_t blocker[kGroups];  // a group whose lead comes first, of those behind another
  Leader<T> chosen[kGroups];
  int32_t chosen_count[2];  // of this round and of the one before or after
  uint32_t hits[kGroups / kWarp]
               [kGroups];  // by word and group: the chosen that may overlap boxes of the group, as bits
  Sum<T> sum[kWarps];
};

// The groups of a warp are those whose numbers leave the warp's when divided by kWarps.
template <class T>
struct Warp {
  const Boxes<T>& in;
  Board<T>& board;
  int64_t b;
  int32_t begin, n, share;
  KeptBoxes<T> kept;
  bool one_label;
  int warp, lane, groups;

  // For the n boxes from slot `begin` on.
  __device__ __forceinline__ Warp(const Boxes<T>& in_, Board<T>& board_, int64_t b_, int64_t begin_, int64_t n_,
                                  bool one_label_)
      : in(in_),
        board(board_),
        b(b_),
        begin(static_cast<int32_t>(begin_)),
        n(static_cast<int32_t>(n_)),
        kept(in.kept(b_)),
        one_label(one_label_) {
    warp = threadIdx.x / kWarp;
    lane = threadIdx.x % kWarp;
    share = static_cast<int32_t>(boxes_of_group(n));
    groups = (n + share - 1) / share;
  }

  // Calls visit(slot) for the lane's boxes of a group.
  template <class Visit>
  __device__ __forceinline__ void each(int group, const Visit& visit) const {
    const int32_t from = group * share, to = min(n, from + share);
#pragma unroll 1
    for (int32_t k = from + lane; k < to; k += kWarp) visit(begin + k);
  }

  __device__ __forceinline__ void start(int group) const {
    Leader<T> lead{T(0), -1, 0};
    Box<T> hull = empty_hull<T>();
    each(group, [&](int32_t slot) {
      const int64_t index = in.box_in(b, slot);
      const T score = in.scores[b * in.N + index];
      const bool here = score >= in.rule.score_threshold;
      in.selected[b * in.N + index] = T(kUnselected);
      if (here) lead = first_of(lead, Leader<T>{score, static_cast<int32_t>(index), slot});
      const Box<T> box = in.load(b, index);
      kept.set(slot, box, here ? score : T(NAN));
      if (can_overlap(box)) hull = HullOf()(hull, box);
    });
    lead = first_of_warp(lead);
    hull = warp_reduce(hull, HullOf());
    if (lane != 0) return;
    board.lead[group] = lead;
    board.hull[group] = hull;
    board.blocker[group] = static_cast<int16_t>(group);
#pragma unroll 1
    for (int word = 0; word < kGroups / kWarp; ++word) board.hits[word][group] = 0;
  }

  // A group whose lead comes before that of `group` and may lower it, or -1; `in_order`, any whose lead comes before.
  // Neighbours stand near each other, and are asked first.
  __device__ __forceinline__ int find_blocker(int group, bool in_order) const {
    const Leader<T> lead = board.lead[group];
    const Box<T> box = kept[lead.slot];
    const int start = group - min(groups, kWarp) / 2;
    for (int first = 0; first < groups; first += kWarp) {
      int other = first + lane < groups ? start + first + lane : group;
      other = other < 0 ? other + groups : other >= groups ? other - groups : other;
      const bool blocks = board.lead[other].before(lead) && (in_order || meets(board.hull[other], box));
      const uint32_t found = __ballot_sync(kAllLanes, blocks);
      if (found != 0) return of_lane(other, __ffs(found) - 1);
    }
    return -1;
  }

  // Whether the blocker that was found last still is one; it may be the group itself, which is none.
  __device__ __forceinline__ bool is_blocked(int group, bool in_order) const {
    const int blocker = board.blocker[group];
    const Leader<T> lead = board.lead[group];
    return board.lead[blocker].before(lead) && (in_order || meets(board.hull[blocker], kept[lead.slot]));
  }

  // Tells the groups that a chosen box may overlap, and its own.
  __device__ __forceinline__ void mark_hits(int place, int group, const Box<T>& box) const {
#pragma unroll 1
    for (int other = lane; other < groups; other += kWarp) {
      if (other == group || meets(board.hull[other], box)) {
        atomicOr(&board.hits[place / kWarp][other], 1u << (place % kWarp));
      }
    }
  }

  // Selects the leads of the warp's groups that nothing blocks any more, and calls picked(lead) in one thread.
  template <class Picked>
  __device__ __forceinline__ void select(int32_t& count, bool in_order, const Picked& picked) const {
    const int mine = warp + lane * kWarps;
    const bool is_open = mine < groups && board.lead[mine].index >= 0 && !is_blocked(mine, in_order);
    uint32_t open = __ballot_sync(kAllLanes, is_open);
    __syncwarp();
    for (; open; open &= open - 1) {
      const int group = warp + (__ffs(open) - 1) * kWarps;
      const int blocker = find_blocker(group, in_order);
      if (lane == 0) board.blocker[group] = static_cast<int16_t>(blocker < 0 ? group : blocker);
      if (blocker >= 0) continue;
      const Leader<T> lead = board.lead[group];
      const int32_t place = of_lane(lane == 0 ? atomicAdd(&count, 1) : 0, 0);
      mark_hits(place, group, kept[lead.slot]);
      if (lane != 0) continue;
      board.chosen[place] = lead;
      kept.score(lead.slot) = T(NAN);
      in.selected[b * in.N + lead.index] = lead.score + T(0);
      picked(lead);
    }
  }

  // The warp's sum over what is left of the one label that a box was selected of.
  __device__ __forceinline__ void show_sum() const {
    const int64_t label = in.label(b, board.chosen[0].slot);
    Sum<T> mine{0, 0};
    for (int group = warp; group < groups; group += kWarps) {
      each(group, [&](int32_t slot) {
        const T score = kept.score(slot);
        if (score == score && (one_label || in.label(b, slot) == label)) {
          mine = mine + Sum<T>{static_cast<double>(score), 1};
        }
      });
    }
    mine = warp_reduce(mine, std::plus<>());
    if (lane == 0) board.sum[warp] = mine;
  }

  // Of the `count` chosen, those that hit a group. If `few`, no more than a word has bits, they are that word, in all
  // lanes; else a lane has each 32nd of them, a bit for each.
  template <bool few>
  __device__ __forceinline__ uint32_t take_hits(int group, int count) const {
    uint32_t hits = few ? board.hits[0][group] : 0;
#pragma unroll 1
    for (int word = 0; !few && word * kWarp < count; ++word) hits |= (board.hits[word][group] >> lane & 1) << word;
    __syncwarp();
    if (lane == 0) {
#pragma unroll 1
      for (int word = 0; word * kWarp < count; ++word) {
        board.hits[word][group] = 0;
        if (few) break;
      }
    }
    return hits;
  }

  // The first of the chosen in `hits`, of which it is taken out.
  template <bool few>
  __device__ __forceinline__ int take_first(uint32_t& hits) const {
    Leader<T> mine{T(0), -1, 0};
    int place = lane;
    if constexpr (few) {
      if ((hits & (hits - 1)) == 0) {
        place = __ffs(hits) - 1;
        hits = 0;
        return place;
      }
      if (hits >> lane & 1) mine = board.chosen[lane];
    } else {
#pragma unroll 1
      for (uint32_t open = hits; open; open &= open - 1) {
        const int other = (__ffs(open) - 1) * kWarp + lane;
        if (!board.chosen[other].before(mine)) continue;
        mine = board.chosen[other];
        place = other;
      }
    }
    const Leader<T> first = first_of_warp(mine);
    const int owner = __ffs(__ballot_sync(kAllLanes, mine.index == first.index)) - 1;
    place = of_lane(place, owner);
    if (few || lane == owner) hits &= ~(1u << (few ? place : place / kWarp));
    return place;
  }

  template <bool few>
  __device__ __forceinline__ bool any(uint32_t hits) const {
    return few ? hits != 0 : __ballot_sync(kAllLanes, hits != 0) != 0;
  }

  // Lowers the scores of a group by the chosen in `hits`, in their order, and finds who leads now: as scores only fall,
  // someone else only where the lead's did. Those below 0 rise.
  template <bool few>
  __device__ __forceinline__ void decay(int group, uint32_t hits, T scale) const {
    Leader<T> lead = board.lead[group];
    const bool scores_fall = in.rule.score_threshold >= T(0);
    const int32_t from = begin + group * share, to = min(begin + n, from + share);
    bool keeps_lead = false;
#pragma unroll 1
    for (int32_t first = from; first < to; first += kWarp) {
      const int32_t slot = min(first + lane, to - 1);
      const Box<T> box = kept[slot];
      const T before = kept.score(slot);
      T score = before;
      for (uint32_t open = hits; any<few>(open);) {
        const int32_t chosen = board.chosen[take_first<few>(open)].slot;
        const Box<T> other = kept[chosen];
        if (score == score && (one_label || in.label(b, slot) == in.label(b, chosen))) {
          score = decayed(in.rule, other, box, score, scale);
        }
        __syncwarp();
      }
      if (first + lane < to && score != before) kept.score(slot) = score;
      keeps_lead |= scores_fall && slot == lead.slot && score == lead.score;
      if (few) break;
    }
    if (__ballot_sync(kAllLanes, keeps_lead) != 0) return;
    lead = {T(0), -1, 0};
    each(group, [&](int32_t slot) {
      const T score = kept.score(slot);
      if (score == score) lead = first_of(lead, Leader<T>{score, static_cast<int32_t>(in.box_in(b, slot)), slot});
    });
    lead = first_of_warp(lead);
    if (lane == 0) board.lead[group] = lead;
  }

  // Lowers the scores of those of the warp's groups that the `count` chosen hit.
  __device__ __forceinline__ void decay_groups(int count, T scale) const {
    const int mine = warp + lane * kWarps;
    bool is_hit = false;
    if (mine < groups && board.lead[mine].index >= 0) {
#pragma unroll 1
      for (int word = 0; word * kWarp < count; ++word) is_hit |= board.hits[word][mine] != 0;
    }
    for (uint32_t open = __ballot_sync(kAllLanes, is_hit); open; open &= open - 1) {
      const int group = warp + (__ffs(open) - 1) * kWarps;
      if (count <= kWarp && share <= kWarp) {
        decay<true>(group, take_hits<true>(group, count), scale);
      } else {
        decay<false>(group, take_hits<false>(group, count), scale);
      }
    }
  }
};

// A block selects among the n boxes from slot `begin` on. With `in_order` it selects one box a round, as one process
// over all would, and calls picked(round, lead) in one thread; only boxes of one label touch.
template <class T, class Picked>
__device__ void select_by_block(const Boxes<T>& in, Board<T>& board, int64_t b, int64_t begin, int64_t n, bool in_order,
                                bool one_label, int32_t most, const Picked& picked) {
  const bool by_mean = in.rule.method == Method::kMeanGaussian;  // in order, so one box is chosen a round
  const Warp<T> mine(in, board, b, begin, n, one_label);
  for (int group = mine.warp; group < mine.groups; group += kWarps) mine.start(group);
  if (threadIdx.x == 0) board.chosen_count[0] = 0;
  __syncthreads();
  for (int32_t round = 0; round < most; ++round) {
    mine.select(board.chosen_count[round % 2], in_order, [&](const Leader<T>& lead) { picked(round, lead); });
    __syncthreads();
    const int count = board.chosen_count[round % 2];
    if (count == 0) break;
    if (threadIdx.x == 0) board.chosen_count[1 - round % 2] = 0;
    T scale = in.rule.scale(T(0));
    if (by_mean) {
      mine.show_sum();
      __syncthreads();
      scale = in.rule.scale(warp_reduce(board.sum[mine.lane], std::plus<>()).mean());
    }
    mine.decay_groups(count, scale);
    __syncthreads();
  }
  __syncthreads();
}

}  // namespace
}  // namespace yolox_ops
