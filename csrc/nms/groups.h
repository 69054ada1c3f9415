// Groups of the boxes of an image by label: how they are found, and how the picks of all become one list.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "boxes/box_node.h"
#include "core/radix_sort.h"
#include "core/simd.h"
#include "nms/pick_boxes.h"

namespace yolox_ops {
namespace {

// Lists the boxes of an image whose scores reach the threshold, by label; returns how many there are.
template <class T>
int64_t sort_by_label(const T* scores,        // [N]
                      const int64_t* labels,  // [N], or null
                      int64_t N, T score_threshold,
                      Item* items,    // [N]
                      Item* spare) {  // [N]
  int64_t n = 0;
  for (int64_t i = 0; i < N; ++i) {
    const uint64_t label = labels ? static_cast<uint64_t>(labels[i]) : 0;
    items[n] = {label, static_cast<int32_t>(i)};
    n += scores[i] >= score_threshold;
  }
  sort_by_key(items, spare, n);
  return n;
}

// The boxes of one label of one image, later its picks: [begin, end) among those of the batch.
struct Group {
  int64_t image, begin, end;
};

struct Groups {
  std::vector<Group> all;      // image after image
  std::vector<int64_t> first;  // [B + 1]: where the groups of an image begin
  int64_t most_boxes = 0;      // of a group
  int64_t most_groups = 0;     // of an image

  int64_t count_of(int64_t b) const { return first[b + 1] - first[b]; }
};

// Finds the groups of B images of N boxes.
inline Groups find_groups(const Item* items,  // [B, N], of each image the first sizes[b], by label
                          const std::vector<int64_t>& sizes, int64_t N) {
  Groups groups;
  groups.first.assign(1, 0);
  for (size_t b = 0; b < sizes.size(); ++b) {
    const int64_t row = static_cast<int64_t>(b) * N, row_end = row + sizes[b];
    int64_t begin = row;
    while (begin < row_end) {
      int64_t end = begin + 1;
      while (end < row_end && items[end].key == items[begin].key) ++end;
      groups.all.push_back({static_cast<int64_t>(b), begin, end});
      groups.most_boxes = std::max(groups.most_boxes, end - begin);
      begin = end;
    }
    groups.first.push_back(static_cast<int64_t>(groups.all.size()));
    groups.most_groups = std::max(groups.most_groups, groups.count_of(static_cast<int64_t>(b)));
  }
  return groups;
}

// Makes the head of group g, the best of its picks that remain, known to the nodes.
template <class T>
YOLOX_OPS_INLINE void show_head(Node<T>* nodes,       // [groups / kFan, rounded up]
                                const Group* groups,  // [groups]
                                int64_t g,
                                const Pick<T>* picks) {  // [B, N]
  const Pick<T>* head = picks + groups[g].begin;
  const bool empty = groups[g].begin == groups[g].end;
  nodes[g / kFan].set_lead(g % kFan, empty ? Lead<T>{kGone<T>, 0} : Lead<T>{rank_of(head->score), head->index});
}

// Empties the n groups of an image in order of score: the largest head at each step is what one process over all boxes
// selects. Returns how many boxes it wrote.
template <class T>
YOLOX_OPS_INLINE int64_t merge_groups(Node<T>* nodes,  // [n / kFan, rounded up]
                                      Group* groups,   // [n]
                                      int64_t n,
                                      const Pick<T>* picks,     // [B, N]
                                      const int32_t* group_of,  // [N], of a box
                                      int64_t most,
                                      int64_t* indices,  // [most]
                                      T* scores) {       // [most]
  const int64_t node_count = (n + kFan - 1) / kFan;
  for (int64_t k = 0; k < node_count; ++k) nodes[k].clear();
  for (int64_t g = 0; g < n; ++g) show_head(nodes, groups, g, picks);
  for (int64_t count = 0; count < most; ++count) {
    const Lead<T> lead = lead_of(nodes, node_count);
    if (lead.rank == kGone<T>) return count;
    indices[count] = lead.index;
    scores[count] = score_of<T>(lead.rank);
    const int32_t g = group_of[lead.index];
    ++groups[g].begin;
    show_head(nodes, groups, g, picks);
  }
  return most;
}
YOLOX_OPS_SIMD_LOOP(int64_t, merge_groups,
                    (Node<T> * nodes, Group* groups, int64_t n, const Pick<T>* picks, const int32_t* group_of,
                     int64_t most, int64_t* indices, T* scores),
                    (nodes, groups, n, picks, group_of, most, indices, scores));

}  // namespace
}  // namespace yolox_ops
