#include <algorithm>
#include <optional>

#include "../common.h"
#include "box_tree.h"
#include "parallel.h"

namespace yolox_ops {
namespace {

// Boxes that are worth a thread of their own, about a millisecond's work: waiting for a busy core costs several.
constexpr int64_t kGrain = 4096;

enum class Method { kHard, kLinear, kGaussian, kMeanGaussian };

Method parse_method(const std::string& method) {
  if (method == "hard") return Method::kHard;
  if (method == "linear") return Method::kLinear;
  if (method == "gaussian") return Method::kGaussian;
  check(method == "mean_gaussian", "method must be 'hard', 'linear', 'gaussian' or 'mean_gaussian', got '", method,
        "'");
  return Method::kMeanGaussian;
}

template <class T>
struct NmsRule {
  Method method;
  T sigma, iou_threshold, score_threshold;
};

template <class T>
struct Pick {
  Word<T> index;
  T score;
};

// Soft-NMS (Bodla et al. 2017, fig. 2) of the boxes in the tree; returns how many picks it wrote.
template <class T>
YOLOX_OPS_INLINE int64_t pick_boxes(BoxTree<T>& tree, const NmsRule<T>& rule, int64_t most, Pick<T>* picks) {
  const Method method = rule.method;
  const T floor = rule.score_threshold, limit = method == Method::kGaussian ? T(0) : rule.iou_threshold;
  const auto hard = [](T) __attribute__((always_inline)) { return kNaN<T>; };
  const auto linear = [](T overlap) __attribute__((always_inline)) { return T(1) - overlap; };
  tree.finish(method == Method::kMeanGaussian);
  int64_t count = 0;
  for (int64_t gaps = 0; count < most; ++count, ++gaps) {
    if (gaps > tree.size() / 4) tree.close_ranks(), gaps = 0;
    const Lead<T> lead = tree.lead();
    if (lead.rank == kGone<T>) break;
    picks[count] = {lead.index, score_of<T>(lead.rank)};
    const Box<T> chosen = tree.take(lead.index);
    if (method == Method::kHard) {
      tree.decay(chosen, limit, floor, hard);
    } else if (method == Method::kLinear) {
      tree.decay(chosen, limit, floor, linear);
    } else {
      const T sigma = method == Method::kGaussian ? rule.sigma : tree.mean_score();
      const T scale = sigma > T(0) ? T(-1) / sigma : T(0);  // a mean that is not positive lowers nothing
      const auto gaussian = [=](T overlap)
                                __attribute__((always_inline)) { return exp_scaled(overlap * overlap * scale, 0); };
      tree.decay(chosen, limit, floor, gaussian);
    }
  }
  return count;
}

YOLOX_OPS_SIMD int64_t pick(BoxTree<float>& tree, const NmsRule<float>& rule, int64_t most, Pick<float>* picks) {
  return pick_boxes(tree, rule, most, picks);
}
YOLOX_OPS_SIMD int64_t pick(BoxTree<double>& tree, const NmsRule<double>& rule, int64_t most, Pick<double>* picks) {
  return pick_boxes(tree, rule, most, picks);
}

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

YOLOX_OPS_SIMD int64_t merge(Node<float>* nodes, Group* groups, int64_t n, const Pick<float>* picks,
                             const int32_t* owner, int64_t most, int64_t* indices, float* scores) {
  return merge_groups(nodes, groups, n, picks, owner, most, indices, scores);
}
YOLOX_OPS_SIMD int64_t merge(Node<double>* nodes, Group* groups, int64_t n, const Pick<double>* picks,
                             const int32_t* owner, int64_t most, int64_t* indices, double* scores) {
  return merge_groups(nodes, groups, n, picks, owner, most, indices, scores);
}

struct Item {
  uint64_t key;
  int32_t index;
};

// Sorts by key, equal keys in the order they came: radix sort by the bytes in which keys differ.
void sort_by_key(Item* items, Item* spare, int64_t n) {
  uint64_t differing = 0;
  for (int64_t i = 0; i < n; ++i) differing |= items[i].key ^ items[0].key;
  Item *from = items, *to = spare;
  for (int shift = 0; shift < 64; shift += 8) {
    if (!(differing >> shift & 0xff)) continue;
    int64_t at[257] = {};
    for (int64_t i = 0; i < n; ++i) ++at[(from[i].key >> shift & 0xff) + 1];
    for (int digit = 0; digit < 256; ++digit) at[digit + 1] += at[digit];
    for (int64_t i = 0; i < n; ++i) to[at[from[i].key >> shift & 0xff]++] = from[i];
    std::swap(from, to);
  }
  if (from != items) std::copy(from, from + n, items);
}

// x as one of `cells` equal parts of [low, high]; whatever x, low and high are.
template <class T>
int64_t cell_of(T x, T low, T high, int64_t cells) {
  const T position = (x - low) * (static_cast<T>(cells) / (high - low));
  return position > T(0) ? (position < static_cast<T>(cells) ? static_cast<int64_t>(position) : cells - 1) : 0;
}

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

// Fills the tree with n boxes in spatial order: up one strip of the image and down the next, so that sixteen in a row
// lie in about a square. Boxes that overlap nothing come last. Box k of the tree is box members[k].index of the image.
template <class T>
void plant(Scratch<T>& scratch, const T* boxes, const T* scores, const Item* members, int64_t n, Format format) {
  Box<T> span{kInf<T>, kInf<T>, -kInf<T>, -kInf<T>, T(0), T(0)};
  for (int64_t k = 0; k < n; ++k) {
    const Box<T> box = scratch.boxes[k] = load_box(boxes + 4 * members[k].index, format, Kind::kIou);
    if (!can_overlap(box)) continue;
    const T x = box.x1 + box.x2, y = box.y1 + box.y2;
    span = {smaller(span.x1, x), smaller(span.y1, y), larger(span.x2, x), larger(span.y2, y), T(0), T(0)};
  }
  const auto strips = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(n) / kFan)));
  const int64_t rows = strips * kFan;
  for (int64_t k = 0; k < n; ++k) {
    const Box<T>& box = scratch.boxes[k];
    const int64_t strip = cell_of(box.x1 + box.x2, span.x1, span.x2, strips);
    const int64_t row = cell_of(box.y1 + box.y2, span.y1, span.y2, rows);
    const int64_t cell = strip * rows + (strip % 2 ? rows - 1 - row : row);
    scratch.items[k] = {static_cast<uint64_t>(can_overlap(box) ? cell : strips * rows), static_cast<int32_t>(k)};
  }
  sort_by_key(scratch.items.get(), scratch.spare.get(), n);
  scratch.tree.clear();
  for (int64_t i = 0; i < n; ++i) {
    const int32_t k = scratch.items[i].index;
    scratch.tree.append(scratch.boxes[k], scores[members[k].index], k);
  }
}

template <class T>
void run(const Tensor& boxes, const Tensor& scores, const int64_t* labels, Format format, const NmsRule<T>& rule,
         Tensor& indices, Tensor& decayed, Tensor& counts) {
  const int64_t B = boxes.size(0), N = boxes.size(1), K = indices.size(1);
  const T* box = boxes.const_data_ptr<T>();
  const T* score = scores.const_data_ptr<T>();
  const int64_t workers = std::clamp<int64_t>(B * N / kGrain, 1, torch::stable::get_num_threads());

  // The boxes that count, by label.
  const auto items = std::make_unique_for_overwrite<Item[]>(B * N);
  const auto spare = std::make_unique_for_overwrite<Item[]>(B * N);
  std::vector<int64_t> sizes(B);
  share(workers, B, [&](int64_t, int64_t b) {
    Item* mine = items.get() + b * N;
    int64_t n = 0;
    for (int64_t i = 0; i < N; ++i) {
      const uint64_t label = labels ? static_cast<uint64_t>(labels[b * N + i]) : 0;
      mine[n] = {label, static_cast<int32_t>(i)};
      n += score[b * N + i] >= rule.score_threshold;
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
  share(workers, first[B], [&](int64_t w, int64_t g) {
    Group& group = groups[g];
    const int64_t row = group.image * N, size = group.end - group.begin;
    const Item* members = items.get() + group.begin;
    Pick<T>* mine = picks.get() + group.begin;
    plant(scratch[w], box + row * 4, score + row, members, size, format);
    const int64_t count = pick(scratch[w].tree, rule, std::min(K, size), mine);
    for (int64_t k = 0; k < count; ++k) {
      mine[k].index = members[mine[k].index].index;
      owner[row + mine[k].index] = static_cast<int32_t>(g - first[group.image]);
    }
    group.end = group.begin + count;
  });

  int64_t* index_out = indices.mutable_data_ptr<int64_t>();
  T* score_out = decayed.mutable_data_ptr<T>();
  int64_t* count_out = counts.mutable_data_ptr<int64_t>();
  share(workers, B, [&](int64_t w, int64_t b) {
    int64_t* index = index_out + b * K;
    T* decayed_score = score_out + b * K;
    Group* own = groups.data() + first[b];
    count_out[b] = merge(scratch[w].heads.get(), own, first[b + 1] - first[b], picks.get(), owner.get() + b * N, K,
                         index, decayed_score);
    std::fill(index + count_out[b], index + K, int64_t{-1});
    std::fill(decayed_score + count_out[b], decayed_score + K, T(0));
  });
}

std::tuple<Tensor, Tensor, Tensor> soft_nms(const Tensor& boxes, const Tensor& scores, std::optional<Tensor> labels,
                                            std::string method, double sigma, double iou_threshold,
                                            double score_threshold, int64_t max_detections, std::string fmt) {
  check_shape(boxes, "boxes", "[B, N, 4]", {-1, -1, 4});
  const int64_t B = boxes.size(0), N = boxes.size(1);
  check_shape(scores, "scores", "[B, N]", {B, N});
  if (labels) check_shape(*labels, "labels", "[B, N]", {B, N});
  check(max_detections >= -1, "max_detections must be at least 0, or -1 for all, got ", max_detections);
  check(N < std::numeric_limits<int32_t>::max(), "boxes must be fewer than 2^31 an image, got ", N);
  const Format format = parse_format(fmt);
  const Method rule_method = parse_method(method);
  const ScalarType dtype = compute_dtype(boxes, scores);
  const int64_t K = max_detections < 0 ? N : std::min(max_detections, N);
  Tensor indices = torch::stable::new_empty(boxes, {B, K}, ScalarType::Long);
  Tensor decayed = torch::stable::new_empty(boxes, {B, K}, dtype);
  Tensor counts = torch::stable::new_empty(boxes, {B}, ScalarType::Long);
  if (B == 0) return {indices, decayed, counts};
  const Tensor dense_boxes = dense(boxes, dtype), dense_scores = dense(scores, dtype);
  const auto dense_labels = labels ? std::optional(dense(*labels, ScalarType::Long)) : std::nullopt;
  const int64_t* label = labels ? dense_labels->const_data_ptr<int64_t>() : nullptr;
  const auto go = [&]<class T>(T) {
    // A pair that does not overlap never decays, which a negative threshold would ask for.
    const NmsRule<T> rule{rule_method, static_cast<T>(sigma), static_cast<T>(std::max(iou_threshold, 0.0)),
                          static_cast<T>(score_threshold)};
    run<T>(dense_boxes, dense_scores, label, format, rule, indices, decayed, counts);
  };
  dtype == ScalarType::Double ? go(double{}) : go(float{});
  return {indices, decayed, counts};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) { m.impl("soft_nms", TORCH_BOX(&yolox_ops::soft_nms)); }
