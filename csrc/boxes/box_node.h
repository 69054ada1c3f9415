// The parts of a BoxTree: blocks of sixteen scored boxes, and nodes of sixteen blocks.
#pragma once

#include <bit>
#include <limits>
#include <type_traits>

#include "boxes/box.h"

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
YOLOX_OPS_INLINE Lead<T> lead_of(const Word<T>* rank,     // [kFan]
                                 const Word<T>* index) {  // [kFan]
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

// Sixteen blocks, or sixteen nodes of blocks: of each the hull of the boxes that can overlap any, the lead, and, of
// blocks, what the mean score asks for.
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

  YOLOX_OPS_INLINE void set_sum(int64_t i,
                                const T* score) {  // [kFan]
    sum[i] = count[i] = 0;
    for (int64_t k = 0; k < kFan; ++k) {
      if (score[k] != score[k]) continue;
      sum[i] += score[k];
      count[i] += 1;
    }
  }

  // A bit for each hull that the box meets.
  YOLOX_OPS_INLINE uint32_t meeting(const Box<T>& box) const {
    uint32_t bits = 0;
#pragma GCC unroll 1
    for (int64_t i = 0; i < kFan; ++i) {
      const Box<T> hull{x1[i], y1[i], x2[i], y2[i], T(0), T(0)};
      bits |= static_cast<uint32_t>(meets(hull, box)) << i;
    }
    return bits;
  }
};

// The lead of all.
template <class T>
YOLOX_OPS_INLINE Lead<T> lead_of(const Node<T>* nodes,  // [n]
                                 int64_t n) {
  Word<T> rank[kFan], index[kFan];
#pragma GCC unroll 1
  for (int64_t i = 0; i < kFan; ++i) {
    rank[i] = kGone<T>;
    index[i] = 0;
  }
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

}  // namespace yolox_ops
