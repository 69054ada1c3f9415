// soft_nms on arrays: what the op on tensors and the function on NumPy's arrays both run.
#pragma once

#include <algorithm>
#include <vector>

#include "boxes/box.h"
#include "boxes/box_tree.h"
#include "core/radix_sort.h"
#include "core/share.h"
#include "core/simd.h"
#include "nms/rule.h"

namespace yolox_ops {
namespace {

// Boxes that are worth a thread of their own, about a millisecond's work: waiting for a busy core costs several.
constexpr int64_t kBoxes = 4096;

template <class T>
struct Pick {
  Word<T> index;
  T score;
};

// Soft-NMS (Bodla et al. 2017, fig. 2) of the boxes in the tree; returns how many picks it wrote.
template <class T>
YOLOX_OPS_INLINE int64_t pick_boxes(BoxTree<T>& tree, const NmsRule<T>& rule, int64_t most, Pick<T>* picks) {
  const Method method = rule.method;
  const T floor = rule.score_threshold, limit = rule.limit();
  tree.finish(method == Method::kMeanGaussian);
  int64_t count = 0;
  for (int64_t gaps = 0; count < most; ++count, ++gaps) {
    if (gaps > tree.size() / 4) tree.close_ranks(), gaps = 0;
    const Lead<T> lead = tree.lead();
    if (lead.rank == kGone<T>) break;
    picks[count] = {lead.index, score_of<T>(lead.rank)};
    const Box<T> chosen = tree.take(lead.index);
    const T scale = rule.scale(method == Method::kMeanGaussian ? tree.mean_score() : T(0));
    const auto decay_by = [&]<Method m>() __attribute__((always_inline)) {
      tree.decay(chosen, limit, floor,
                 [=](T overlap) __attribute__((always_inline)) { return weight<m>(overlap, scale); });
    };
    if (method == Method::kHard) {
      decay_by.template operator()<Method::kHard>();
    } else if (method == Method::kLinear) {
      decay_by.template operator()<Method::kLinear>();
    } else {
      decay_by.template operator()<Method::kGaussian>();
    }
  }
  return count;
}

YOLOX_OPS_SIMD_LOOP(int64_t, pick_boxes, (BoxTree<T> & tree, const NmsRule<T>& rule, int64_t most, Pick<T>* picks),
                    (tree, rule, most, picks));

// The boxes of one label of one image, later its picks: [begin, end) among those of the batch.
struct Group {
  int64_t image, begin, end;
};

// Empties the groups in order of score: the largest head at each step is what one process over all boxes selects.
// owner[index] is the group of a box. Returns how many boxes it wrote.
template <class T>
YOLOX_OPS_INLINE int64_t merge_groups(Node<T>* nodes, Group* groups, int64_t n, const Pick<T>* picks,
                                      const int32_t* owner, int64_t most, int64_t* indices, T* scores) {
  const auto show_head = [&](int64_t g) __attribute__((always_inline)) {
    const Pick<T>* head = picks + groups[g].begin;
    const bool empty = groups[g].begin == groups[g].end;
    nodes[g / kFan].set_lead(g % kFan, empty ? Lead<T>{kGone<T>, 0} : Lead<T>{rank_of(head->score), head->index});
  };
  const int64_t node_count = (n + kFan - 1) / kFan;
  for (int64_t k = 0; k < node_count; ++k) nodes[k].clear();
  for (int64_t g = 0; g < n; ++g) show_head(g);
  int64_t count = 0;
  for (; count < most; ++count) {
    const Lead<T> lead = lead_of(nodes, node_count);
    if (lead.rank == kGone<T>) break;
    indices[count] = lead.index;
    scores[count] = score_of<T>(lead.rank);
    const int32_t g = owner[lead.index];
    ++groups[g].begin;
    show_head(g);
  }
  return count;
}

YOLOX_OPS_SIMD_LOOP(int64_t, merge_groups,
                    (Node<T> * nodes, Group* groups, int64_t n, const Pick<T>* picks, const int32_t* owner,
                     int64_t most, int64_t* indices, T* scores),
                    (nodes, groups, n, picks, owner, most, indices, scores));

// What a thread works in: room for the largest group and for the image of the most groups.
template <class T>
struct Scratch {
  Scratch(int64_t boxes, int64_t groups)
      : tree(boxes),
        boxes(std::make_unique_for_overwrite<Box<T>[]>(boxes)),
        items(std::make_unique_for_overwrite<Item[]>(boxes)),
        spare(std::make_unique_for_overwrite<Item[]>(boxes)),
        heads(std::make_unique_for_overwrite<Node<T>[]>(groups / kFan + 1)) {}

  BoxTree<T> tree;
  std::unique_ptr<Box<T>[]> boxes;
  std::unique_ptr<Item[]> items, spare;
  std::unique_ptr<Node<T>[]> heads;
};

// Fills the tree with n boxes in spatial order. Box k of the tree is box members[k].index of the image.
template <class T>
void plant(Scratch<T>& scratch, const T* boxes, const T* scores, const Item* members, int64_t n, Format format) {
  Box<T> span = empty_hull<T>();
  for (int64_t k = 0; k < n; ++k) {
    scratch.boxes[k] = load_box(boxes + 4 * members[k].index, format, Kind::kIou);
    span = span_of(span, scratch.boxes[k]);
  }
  const SpatialOrder<T> order(span, n, kFan);
  for (int64_t k = 0; k < n; ++k) {
    scratch.items[k] = {static_cast<uint64_t>(order(scratch.boxes[k])), static_cast<int32_t>(k)};
  }
  sort_by_key(scratch.items.get(), scratch.spare.get(), n);
  scratch.tree.clear();
  for (int64_t i = 0; i < n; ++i) {
    const int32_t k = scratch.items[i].index;
    scratch.tree.append(scratch.boxes[k], scores[members[k].index], k);
  }
}

template <class T>
struct NmsArrays {
  int64_t B, N, K;        // images, boxes of one, selections of one
  const T* boxes;         // [B, N, 4]
  const T* scores;        // [B, N]
  const int64_t* labels;  // [B, N], or null
  int64_t* indices;       // [B, K]
  T* decayed;             // [B, K]
  int64_t* counts;        // [B]
};

// Soft-NMS of every image.
template <class Threads, class T>
void select(const Threads& threads, const NmsArrays<T>& in, const NmsOptions& options) {
  const int64_t B = in.B, N = in.N, K = in.K;
  const NmsRule<T> rule = options.rule<T>();
  const int64_t workers = std::clamp<int64_t>(B * N / kBoxes, 1, threads.count());

  // The boxes that count, by label.
  const auto items = std::make_unique_for_overwrite<Item[]>(B * N);
  const auto spare = std::make_unique_for_overwrite<Item[]>(B * N);
  std::vector<int64_t> sizes(B);
  share(threads, workers, B, [&](int64_t, int64_t b) {
    Item* mine = items.get() + b * N;
    int64_t n = 0;
    for (int64_t i = 0; i < N; ++i) {
      const uint64_t label = in.labels ? static_cast<uint64_t>(in.labels[b * N + i]) : 0;
      mine[n] = {label, static_cast<int32_t>(i)};
      n += in.scores[b * N + i] >= rule.score_threshold;
    }
    sort_by_key(mine, spare.get() + b * N, n);
    sizes[b] = n;
  });
  std::vector<Group> groups;
  std::vector<int64_t> first(B + 1);  // group of each image
  int64_t most_boxes = 0, most_groups = 0;
  for (int64_t b = 0; b < B; ++b) {
    const Item* mine = items.get() + b * N;
    for (int64_t begin = 0, end = 1; begin < sizes[b]; begin = end++) {
      while (end < sizes[b] && mine[end].key == mine[begin].key) ++end;
      groups.push_back({b, b * N + begin, b * N + end});
      most_boxes = std::max(most_boxes, end - begin);
    }
    first[b + 1] = static_cast<int64_t>(groups.size());
    most_groups = std::max(most_groups, first[b + 1] - first[b]);
  }

  std::vector<Scratch<T>> scratch;
  for (int64_t w = 0; w < workers; ++w) scratch.emplace_back(most_boxes, most_groups);
  const auto picks = std::make_unique_for_overwrite<Pick<T>[]>(B * N);
  const auto owner = std::make_unique_for_overwrite<int32_t[]>(B * N);
  share(threads, workers, first[B], [&](int64_t w, int64_t g) {
    Group& group = groups[g];
    const int64_t row = group.image * N, size = group.end - group.begin;
    const Item* members = items.get() + group.begin;
    Pick<T>* mine = picks.get() + group.begin;
    plant(scratch[w], in.boxes + row * 4, in.scores + row, members, size, options.format);
    const int64_t count = simd_pick_boxes(scratch[w].tree, rule, std::min(K, size), mine);
    for (int64_t k = 0; k < count; ++k) {
      mine[k].index = members[mine[k].index].index;
      owner[row + mine[k].index] = static_cast<int32_t>(g - first[group.image]);
    }
    group.end = group.begin + count;
  });

  share(threads, workers, B, [&](int64_t w, int64_t b) {
    int64_t* index = in.indices + b * K;
    T* decayed_score = in.decayed + b * K;
    Group* own = groups.data() + first[b];
    in.counts[b] = simd_merge_groups(scratch[w].heads.get(), own, first[b + 1] - first[b], picks.get(),
                                     owner.get() + b * N, K, index, decayed_score);
    std::fill(index + in.counts[b], index + K, int64_t{-1});
    std::fill(decayed_score + in.counts[b], decayed_score + K, T(0));
  });
}

}  // namespace
}  // namespace yolox_ops
