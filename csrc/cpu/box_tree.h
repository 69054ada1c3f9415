// Scored boxes in a tree that gives the largest score and visits only the boxes that a given one can overlap.
#pragma once

#include <bit>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>

#include "../soft_nms.h"
#include "simd.h"

namespace yolox_ops {

// Boxes to a block and blocks to a node: a vector of AVX-512 floats. Sixteen-fold loops vectorise only if they are not
// unrolled first, hence the pragma at each.
constexpr int64_t kFan = 16;

// A score as an integer of the same order, 0 and -0 alike. NaN, the score of a box that is gone, ranks below all.
template <class T>
using Word = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
template <class T>
constexpr Word<T> kGone = std::numeric_limits<Word<T>>::min();
template <class T>
constexpr T kNaN = std::numeric_limits<T>::quiet_NaN();
template <class T>
constexpr T kInf = std::numeric_limits<T>::infinity();

template <class T>
YOLOX_OPS_INLINE Word<T> flip_negative(Word<T> bits) {
  return bits ^ ((bits >> (8 * sizeof(T) - 1)) & std::numeric_limits<Word<T>>::max());
}
template <class T>
YOLOX_OPS_INLINE Word<T> rank_of(T score) {
  const Word<T> rank = flip_negative<T>(std::bit_cast<Word<T>>(score + T(0)));
  return score == score ? rank : kGone<T>;
}
template <class T>
YOLOX_OPS_INLINE T score_of(Word<T> rank) {
  return std::bit_cast<T>(flip_negative<T>(rank));
}

// What leads: the largest score, and of equal ones that of the lowest index.
template <class T>
struct Lead {
  Word<T> rank, index;
};

template <class T>
YOLOX_OPS_INLINE Lead<T> lead_of(const Word<T>* rank, const Word<T>* index) {
  Word<T> top = kGone<T>, first = std::numeric_limits<Word<T>>::max(), tied[kFan];
#pragma GCC unroll 1
  for (int64_t i = 0; i < kFan; ++i) top = larger(top, rank[i]);
#pragma GCC unroll 1
  for (int64_t i = 0; i < kFan; ++i) tied[i] = rank[i] == top ? index[i] : first;
#pragma GCC unroll 1
  for (int64_t i = 0; i < kFan; ++i) first = smaller(first, tied[i]);
  return {top, first};
}

// Sixteen boxes.
template <class T>
struct alignas(64) Block {
  T x1[kFan], y1[kFan], x2[kFan], y2[kFan], area[kFan], score[kFan];
  Word<T> index[kFan];

  YOLOX_OPS_INLINE Box<T> box(int64_t i) const { return {x1[i], y1[i], x2[i], y2[i], area[i], T(0)}; }

  YOLOX_OPS_INLINE void set(int64_t i, const Box<T>& box, T new_score, Word<T> new_index) {
    x1[i] = box.x1;
    y1[i] = box.y1;
    x2[i] = box.x2;
    y2[i] = box.y2;
    area[i] = box.area;
    score[i] = new_score;
    index[i] = new_index;
  }

  YOLOX_OPS_INLINE Lead<T> lead() const {
    Word<T> rank[kFan];
#pragma GCC unroll 1
    for (int64_t i = 0; i < kFan; ++i) rank[i] = rank_of(score[i]);
    return lead_of<T>(rank, index);
  }

  // Multiplies the scores of the boxes whose IoU with `chosen` exceeds `limit` by weight(IoU); a box whose score then
  // does not reach `floor` is gone. True if there was any.
  template <class Weight>
  YOLOX_OPS_INLINE bool decay(const Box<T>& chosen, T limit, T floor, const Weight& weight) {
    T overlap[kFan];
    int32_t hits = 0;
#pragma GCC unroll 1
    for (int64_t i = 0; i < kFan; ++i) {
      overlap[i] = iou(chosen, box(i));
      hits |= overlap[i] > limit ? 1 : 0;
    }
    if (!hits) return false;
#pragma GCC unroll 1
    for (int64_t i = 0; i < kFan; ++i) {
      const T decayed = score[i] * weight(overlap[i]);
      const T kept = decayed >= floor ? decayed : kNaN<T>;
      score[i] = overlap[i] > limit ? kept : score[i];
    }
    return true;
  }
};

// Sixteen blocks: of each the hull of the boxes that can overlap any, the lead, and what the mean score asks for.
template <class T>
struct alignas(64) Node {
  T x1[kFan], y1[kFan], x2[kFan], y2[kFan];
  Word<T> rank[kFan], index[kFan];
  double sum[kFan], count[kFan];

  YOLOX_OPS_INLINE void clear() {
    for (int64_t i = 0; i < kFan; ++i) {
      x1[i] = y1[i] = kInf<T>;
      x2[i] = y2[i] = -kInf<T>;
      rank[i] = kGone<T>;
      index[i] = 0;
      sum[i] = count[i] = 0;
    }
  }

  YOLOX_OPS_INLINE void stretch(int64_t i, const Box<T>& box) {
    x1[i] = smaller(x1[i], box.x1);
    y1[i] = smaller(y1[i], box.y1);
    x2[i] = larger(x2[i], box.x2);
    y2[i] = larger(y2[i], box.y2);
  }

  YOLOX_OPS_INLINE void set_lead(int64_t i, const Lead<T>& lead) {
    rank[i] = lead.rank;
    index[i] = lead.index;
  }

  YOLOX_OPS_INLINE void set_sum(int64_t i, const T* score) {
    sum[i] = count[i] = 0;
    for (int64_t k = 0; k < kFan; ++k) {
      if (score[k] == score[k]) sum[i] += score[k], count[i] += 1;
    }
  }

  // A bit for each hull that the box meets.
  YOLOX_OPS_INLINE uint32_t meeting(const Box<T>& box) const {
    uint32_t bits = 0;
#pragma GCC unroll 1
    for (int64_t i = 0; i < kFan; ++i) {
      const bool meets = (x1[i] < box.x2) & (box.x1 < x2[i]) & (y1[i] < box.y2) & (box.y1 < y2[i]);
      bits |= static_cast<uint32_t>(meets) << i;
    }
    return bits;
  }
};

// The lead of all.
template <class T>
YOLOX_OPS_INLINE Lead<T> lead_of(const Node<T>* nodes, int64_t n) {
  Word<T> rank[kFan], index[kFan];
#pragma GCC unroll 1
  for (int64_t i = 0; i < kFan; ++i) rank[i] = kGone<T>, index[i] = 0;
  for (int64_t k = 0; k < n; ++k) {
    const Node<T>& node = nodes[k];
#pragma GCC unroll 1
    for (int64_t i = 0; i < kFan; ++i) {
      const bool ahead = (node.rank[i] > rank[i]) | ((node.rank[i] == rank[i]) & (node.index[i] < index[i]));
      rank[i] = ahead ? node.rank[i] : rank[i];
      index[i] = ahead ? node.index[i] : index[i];
    }
  }
  return lead_of<T>(rank, index);
}

template <class T>
class BoxTree {
 public:
  explicit BoxTree(int64_t boxes)
      : blocks_(std::make_unique_for_overwrite<Block<T>[]>((boxes + kFan - 1) / kFan)),
        nodes_(std::make_unique_for_overwrite<Node<T>[]>(boxes / (kFan * kFan) + 1)),
        place_(std::make_unique_for_overwrite<int32_t[]>(boxes)) {}

  YOLOX_OPS_INLINE void clear() { size_ = 0; }

  // Boxes are appended in spatial order: a block prunes well whose boxes lie together.
  YOLOX_OPS_INLINE void append(const Box<T>& box, T score, Word<T> index) {
    const int64_t b = size_ / kFan, lane = size_ % kFan;
    if (b % kFan == 0 && lane == 0) nodes_[b / kFan].clear();
    blocks_[b].set(lane, box, score, index);
    place_[index] = static_cast<int32_t>(size_++);
    if (can_overlap(box)) nodes_[b / kFan].stretch(b % kFan, box);
  }

  // Makes the nodes true to the boxes appended. With sums, mean_score() can be asked for.
  YOLOX_OPS_INLINE void finish(bool with_sums) {
    with_sums_ = with_sums;
    for (int64_t i = size_; i % kFan; ++i) blocks_[i / kFan].score[i % kFan] = kNaN<T>;
    for (int64_t b = 0; b * kFan < size_; ++b) refresh(b);
  }

  // Lays the boxes that remain closer together.
  YOLOX_OPS_INLINE void close_ranks() {
    const int64_t size = std::exchange(size_, 0);
    for (int64_t i = 0; i < size; ++i) {
      const Block<T>& block = blocks_[i / kFan];
      const int64_t lane = i % kFan;
      if (block.score[lane] == block.score[lane]) append(block.box(lane), block.score[lane], block.index[lane]);
    }
    finish(with_sums_);
  }

  YOLOX_OPS_INLINE int64_t size() const { return size_; }

  YOLOX_OPS_INLINE Lead<T> lead() const { return lead_of(nodes_.get(), node_count()); }

  // Removes a box and returns it; lead() knows of it after decay().
  YOLOX_OPS_INLINE Box<T> take(Word<T> index) {
    const int64_t at = place_[index];
    Block<T>& block = blocks_[at / kFan];
    block.score[at % kFan] = kNaN<T>;
    taken_ = at / kFan;
    return block.box(at % kFan);
  }

  // The mean of the scores that remain.
  YOLOX_OPS_INLINE T mean_score() {
    refresh(taken_);
    double sums[kFan] = {}, counts[kFan] = {}, sum = 0, count = 0;
    for (int64_t n = 0; n < node_count(); ++n) {
#pragma GCC unroll 1
      for (int64_t i = 0; i < kFan; ++i) sums[i] += nodes_[n].sum[i], counts[i] += nodes_[n].count[i];
    }
    for (int64_t i = 0; i < kFan; ++i) sum += sums[i], count += counts[i];
    return static_cast<T>(sum / count);
  }

  // Block::decay of all boxes, by the box that was taken last.
  template <class Weight>
  YOLOX_OPS_INLINE void decay(const Box<T>& chosen, T limit, T floor, const Weight& weight) {
    for (int64_t n = 0; n < node_count(); ++n) {
      const uint32_t meeting = nodes_[n].meeting(chosen);
      const uint32_t own = n == taken_ / kFan ? 1u << taken_ % kFan : 0;
      for (uint32_t bits = meeting | own; bits; bits &= bits - 1) {
        const int64_t b = n * kFan + std::countr_zero(bits);
        if (blocks_[b].decay(chosen, limit, floor, weight) || b == taken_) refresh(b);
      }
    }
  }

 private:
  YOLOX_OPS_INLINE int64_t node_count() const { return (size_ + kFan * kFan - 1) / (kFan * kFan); }

  YOLOX_OPS_INLINE void refresh(int64_t b) {
    Node<T>& node = nodes_[b / kFan];
    node.set_lead(b % kFan, blocks_[b].lead());
    if (with_sums_) node.set_sum(b % kFan, blocks_[b].score);
  }

  std::unique_ptr<Block<T>[]> blocks_;
  std::unique_ptr<Node<T>[]> nodes_;
  std::unique_ptr<int32_t[]> place_;  // where the box of an index lies
  int64_t size_ = 0, taken_ = 0;
  bool with_sums_ = false;
};

}  // namespace yolox_ops
