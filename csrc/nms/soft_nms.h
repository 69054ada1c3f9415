// soft_nms on arrays: what the op on tensors and the function on NumPy's arrays both run.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "boxes/box.h"
#include "boxes/box_tree.h"
#include "boxes/spatial_order.h"
#include "core/radix_sort.h"
#include "core/share.h"
#include "nms/groups.h"
#include "nms/pick_boxes.h"
#include "nms/rule.h"

namespace yolox_ops {
namespace {

// Boxes that are worth a thread of their own, about a millisecond's work: waiting for a busy core costs several.
constexpr int64_t kBoxGrain = 4096;

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
void plant(Scratch<T>& scratch,
           const T* boxes,       // [N, 4]
           const T* scores,      // [N]
           const Item* members,  // [n]
           int64_t n, Format format) {
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
  int64_t B, N, K;        // images; boxes of an image; how many of them may be selected
  const T* boxes;         // [B, N, 4]
  const T* scores;        // [B, N]
  const int64_t* labels;  // [B, N], or null
  int64_t* indices;       // [B, K]
  T* decayed;             // [B, K]
  int64_t* counts;        // [B]
};

// Soft-NMS of a group: its members become its picks, and know the group by its number `g` in the image.
template <class T>
void pick_of_group(Scratch<T>& scratch, const NmsArrays<T>& in, const NmsRule<T>& rule, Format format, Group& group,
                   int32_t g,
                   const Item* items,    // [B, N]
                   Pick<T>* picks,       // [B, N]
                   int32_t* group_of) {  // [B, N]
  const int64_t row = group.image * in.N, size = group.end - group.begin;
  const Item* members = items + group.begin;
  Pick<T>* mine = picks + group.begin;
  plant(scratch, in.boxes + row * 4, in.scores + row, members, size, format);
  const int64_t count = simd_pick_boxes(scratch.tree, rule, std::min(in.K, size), mine);
  for (int64_t k = 0; k < count; ++k) {
    mine[k].index = members[mine[k].index].index;
    group_of[row + mine[k].index] = g;
  }
  group.end = group.begin + count;
}

// Writes what is selected of image b, from the picks of its groups.
template <class T>
void write_selected(Scratch<T>& scratch, const NmsArrays<T>& in, Groups& groups, int64_t b,
                    const Pick<T>* picks,       // [B, N]
                    const int32_t* group_of) {  // [B, N]
  int64_t* indices = in.indices + b * in.K;
  T* decayed = in.decayed + b * in.K;
  const int64_t count = simd_merge_groups(scratch.heads.get(), groups.all.data() + groups.first[b], groups.count_of(b),
                                          picks, group_of + b * in.N, in.K, indices, decayed);
  std::fill(indices + count, indices + in.K, int64_t{-1});
  std::fill(decayed + count, decayed + in.K, T(0));
  in.counts[b] = count;
}

// Soft-NMS of every image. No thread asks for memory.
template <class Threads, class T>
void run_soft_nms(const Threads& threads, const NmsArrays<T>& in, const NmsOptions& options) {
  const int64_t B = in.B, N = in.N;
  const NmsRule<T> rule = options.rule<T>();
  const int64_t workers = std::clamp<int64_t>(B * N / kBoxGrain, 1, threads.count());

  const auto items = std::make_unique_for_overwrite<Item[]>(B * N);
  const auto spare = std::make_unique_for_overwrite<Item[]>(B * N);
  std::vector<int64_t> sizes(B);
  share(threads, workers, B, [&](int64_t, int64_t b) {
    const int64_t* labels = in.labels ? in.labels + b * N : nullptr;
    sizes[b] =
        sort_by_label(in.scores + b * N, labels, N, rule.score_threshold, items.get() + b * N, spare.get() + b * N);
  });

  Groups groups = find_groups(items.get(), sizes, N);
  std::vector<Scratch<T>> scratch;
  for (int64_t w = 0; w < workers; ++w) scratch.emplace_back(groups.most_boxes, groups.most_groups);
  const auto picks = std::make_unique_for_overwrite<Pick<T>[]>(B * N);
  const auto group_of = std::make_unique_for_overwrite<int32_t[]>(B * N);
  share(threads, workers, static_cast<int64_t>(groups.all.size()), [&](int64_t w, int64_t i) {
    Group& group = groups.all[i];
    const auto g = static_cast<int32_t>(i - groups.first[group.image]);
    pick_of_group(scratch[w], in, rule, options.format, group, g, items.get(), picks.get(), group_of.get());
  });

  share(threads, workers, B,
        [&](int64_t w, int64_t b) { write_selected(scratch[w], in, groups, b, picks.get(), group_of.get()); });
}

}  // namespace
}  // namespace yolox_ops
