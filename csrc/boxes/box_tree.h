// Scored boxes in a tree that gives the largest score and visits only the boxes that a given one can overlap.
#pragma once

#include <memory>
#include <utility>

#include "boxes/box_node.h"
#include "boxes/spatial_order.h"

namespace yolox_ops {

template <class T>
class BoxTree {
 public:
  explicit BoxTree(int64_t boxes)
      : blocks_(std::make_unique_for_overwrite<Block<T>[]>((boxes + kFan - 1) / kFan)),
        nodes_(std::make_unique_for_overwrite<Node<T>[]>(boxes / (kFan * kFan) + 1)),
        tops_(std::make_unique_for_overwrite<Node<T>[]>(boxes / (kFan * kFan * kFan) + 1)),
        slot_(std::make_unique_for_overwrite<int32_t[]>(boxes)) {}

  YOLOX_OPS_INLINE void clear() { size_ = 0; }

  // Boxes are appended in spatial order: a block prunes well whose boxes lie together.
  YOLOX_OPS_INLINE void append(const Box<T>& box, T score, Word<T> index) {
    const int64_t lane = size_ % kFan, b = size_ / kFan, n = b / kFan, t = n / kFan;
    if (size_ % (kFan * kFan) == 0) nodes_[n].clear();
    if (size_ % (kFan * kFan * kFan) == 0) tops_[t].clear();
    blocks_[b].set(lane, box, score, index);
    slot_[index] = static_cast<int32_t>(size_++);
    if (!can_overlap(box)) return;
    nodes_[n].stretch(b % kFan, box);
    tops_[t].stretch(n % kFan, box);
  }

  // Makes the nodes true to the boxes appended. With sums, mean_score() can be asked for.
  YOLOX_OPS_INLINE void finish(bool with_sums) {
    with_sums_ = with_sums;
    for (int64_t i = size_; i % kFan; ++i) blocks_[i / kFan].score[i % kFan] = kNaN<T>;
    for (int64_t b = 0; b * kFan < size_; ++b) refresh(b);
    for (int64_t n = 0; n < node_count(); ++n) refresh_top(n);
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

  YOLOX_OPS_INLINE Lead<T> lead() const {
    return flat() ? lead_of(nodes_.get(), node_count()) : lead_of(tops_.get(), top_count());
  }

  // Removes a box and returns it; lead() knows of it after decay().
  YOLOX_OPS_INLINE Box<T> take(Word<T> index) {
    const int64_t slot = slot_[index];
    Block<T>& block = blocks_[slot / kFan];
    block.score[slot % kFan] = kNaN<T>;
    taken_block_ = slot / kFan;
    return block.box(slot % kFan);
  }

  // The mean of the scores that remain.
  YOLOX_OPS_INLINE T mean_score() {
    refresh(taken_block_);
    double sums[kFan] = {}, counts[kFan] = {}, sum = 0, count = 0;
    for (int64_t n = 0; n < node_count(); ++n) {
#pragma GCC unroll 1
      for (int64_t i = 0; i < kFan; ++i) {
        sums[i] += nodes_[n].sum[i];
        counts[i] += nodes_[n].count[i];
      }
    }
    for (int64_t i = 0; i < kFan; ++i) {
      sum += sums[i];
      count += counts[i];
    }
    return static_cast<T>(sum / count);
  }

  // Block::decay of all boxes, by the box that was taken last.
  template <class Weight>
  YOLOX_OPS_INLINE void decay(const Box<T>& chosen, T limit, T floor, const Weight& weight) {
    if (flat()) {
      for (int64_t n = 0; n < node_count(); ++n) decay_node(n, chosen, limit, floor, weight);
      return;
    }
    for (int64_t t = 0; t < top_count(); ++t) {
      for (uint32_t nodes = meeting(tops_[t], t, taken_block_ / kFan, chosen); nodes; nodes &= nodes - 1) {
        const int64_t n = t * kFan + std::countr_zero(nodes);
        if (decay_node(n, chosen, limit, floor, weight)) refresh_top(n);
      }
    }
  }

 private:
  YOLOX_OPS_INLINE int64_t node_count() const { return (size_ + kFan * kFan - 1) / (kFan * kFan); }

  YOLOX_OPS_INLINE int64_t top_count() const { return (node_count() + kFan - 1) / kFan; }

  // A few nodes are sooner looked at than nodes above them.
  YOLOX_OPS_INLINE bool flat() const { return size_ <= 4 * kFan * kFan; }

  // True if a score changed.
  template <class Weight>
  YOLOX_OPS_INLINE bool decay_node(int64_t n, const Box<T>& chosen, T limit, T floor, const Weight& weight) {
    bool changed = false;
    for (uint32_t bits = meeting(nodes_[n], n, taken_block_, chosen); bits; bits &= bits - 1) {
      const int64_t b = n * kFan + std::countr_zero(bits);
      if (!blocks_[b].decay(chosen, limit, floor, weight) && b != taken_block_) continue;
      refresh(b);
      changed = true;
    }
    return changed;
  }

  // A bit for each child of node `number` that the box meets, and for child `taken`, counted over all nodes: where the
  // box itself was taken from.
  static YOLOX_OPS_INLINE uint32_t meeting(const Node<T>& node, int64_t number, int64_t taken, const Box<T>& box) {
    return node.meeting(box) | (taken / kFan == number ? 1u << taken % kFan : 0);
  }

  YOLOX_OPS_INLINE void refresh(int64_t b) {
    Node<T>& node = nodes_[b / kFan];
    node.set_lead(b % kFan, blocks_[b].lead());
    if (with_sums_) node.set_sum(b % kFan, blocks_[b].score);
  }

  YOLOX_OPS_INLINE void refresh_top(int64_t n) {
    tops_[n / kFan].set_lead(n % kFan, lead_of<T>(nodes_[n].rank, nodes_[n].index));
  }

  std::unique_ptr<Block<T>[]> blocks_;
  std::unique_ptr<Node<T>[]> nodes_, tops_;
  std::unique_ptr<int32_t[]> slot_;  // of the box of an index
  int64_t size_ = 0, taken_block_ = 0;
  bool with_sums_ = false;
};

}  // namespace yolox_ops
