// One image of a batch for simota_cost and simota: its candidates, their boxes and scores, and the costs of pairs.
#pragma once

#include <cstring>
#include <span>

#include "assign/batch.h"
#include "assign/scores.h"
#include "boxes/box_arrays.h"
#include "core/parallel.h"

namespace yolox_ops {
namespace {

// Candidates that are worth a thread of their own.
constexpr int64_t kCandidateGrain = 256;
// Candidates between the one whose scores are computed and the one whose logits are fetched from memory.
constexpr int64_t kAhead = 4;
// Marks that are looked at together.
constexpr int64_t kMarks = sizeof(uint64_t);

inline bool any_marked(const uint8_t* marks) {  // [kMarks]
  uint64_t together;
  std::memcpy(&together, marks, sizeof together);
  return together != 0;
}

template <class T>
class Image {
 public:
  // Reuses the memory of the image before.
  void prepare(const Batch<T>& batch_of_image, int64_t b) {
    batch = &batch_of_image;
    index = b;
    gts = batch->counts[b];
    mark_candidates();
    number_candidates();
    boxes.resize(size());
    scores.resize(size());
    parallel_for(0, size(), kCandidateGrain, [&](int64_t begin, int64_t end) {
      std::vector<T> scratch;
      load_boxes(begin, end, scratch);
      if (batch->has_obj) score_objectness(begin, end, scratch);
      score_classes(begin, end, scratch);
    });
  }

  int64_t size() const { return static_cast<int64_t>(anchor.size()); }
  const Box<T>& gt_box(int64_t g) const { return batch->gt_box(index, g); }
  const Target<T>& target(int64_t g) const { return batch->target(index, g); }
  int64_t label(int64_t g) const { return batch->label(index, g); }

  // The candidates that pay no penalty for ground truth g, ascending.
  std::span<const int32_t> inside_of(int64_t g) const {
    return {inside.data() + inside_begin[g], inside.data() + inside_begin[g + 1]};
  }

  // Lays pair (g, candidate) in `slot`.
  void gather(Pairs<T>& pairs, int64_t slot, int64_t g, int64_t candidate) const {
    pairs.overlap[slot] = iou(gt_box(g), boxes.view()[candidate]);
    pairs.logit[slot] = batch->logit(index, anchor[candidate], label(g));
    pairs.scores.negatives[slot] = scores.negatives[candidate];
    pairs.scores.obj_exp[slot] = scores.obj_exp[candidate];
    pairs.scores.obj_softplus[slot] = scores.obj_softplus[candidate];
  }

  // Sets the costs of the first n slots, without penalty.
  void cost_slots(Pairs<T>& pairs, int64_t n) const { cost_pairs(pairs, n, pairs.scores); }

  // Sets overlaps and costs of ground truth g with all candidates, in slots of the candidates' numbers, without
  // penalty.
  void cost_row(Pairs<T>& pairs, int64_t g) const {
    pairs.overlap.resize(size());
    pairs.logit.resize(size());
    pairs.cost.resize(size());
    simd_compute_overlaps(gt_box(g), boxes.view(), size(), pairs.overlap.data());
    batch->cls_logits.gather(index, anchor.data(), size(), label(g), pairs.logit.data());
    cost_pairs(pairs, size(), scores);
  }

  const Batch<T>* batch = nullptr;
  int64_t index = 0, gts = 0;
  std::vector<int32_t> anchor;        // the candidates, ascending
  std::vector<int32_t> inside;        // candidates that pay no penalty, gt after gt, ascending within one
  std::vector<int64_t> inside_begin;  // [gts + 1]
  BoxArrays<T> boxes;
  Scores<T> scores;

 private:
  void cost_pairs(Pairs<T>& pairs, int64_t n, const Scores<T>& of) const {
    simd_compute_costs(n, pairs.overlap.data(), pairs.logit.data(), of.negatives.data(), of.obj_exp.data(),
                       of.obj_softplus.data(), batch->without_obj(), batch->rule, pairs.cost.data());
  }

  // Marks the anchors that are candidates because of some ground truth, and lists those inside each.
  void mark_candidates() {
    marks_.assign((batch->N + kMarks - 1) / kMarks * kMarks, 0);
    inside.clear();
    inside_begin.assign(1, 0);
    for (int64_t g = 0; g < gts; ++g) {
      batch->anchors.each_candidate(target(g), batch->rule.candidates, [&](int64_t j, bool is_inside) {
        marks_[j] = 1;
        if (is_inside) inside.push_back(static_cast<int32_t>(j));
      });
      inside_begin.push_back(static_cast<int64_t>(inside.size()));
    }
  }

  // From here on candidates go by their numbers and no more by their anchors. They are few, so that most marks are
  // passed over eight at a time.
  void number_candidates() {
    anchor.clear();
    number_.resize(marks_.size());
    for (size_t first = 0; first < marks_.size(); first += kMarks) {
      if (!any_marked(&marks_[first])) continue;
      for (size_t j = first; j < first + kMarks; ++j) {
        if (!marks_[j]) continue;
        number_[j] = static_cast<int32_t>(anchor.size());
        anchor.push_back(static_cast<int32_t>(j));
      }
    }
    for (int32_t& j : inside) j = number_[j];
  }

  void load_boxes(int64_t begin, int64_t end, std::vector<T>& scratch) {
    for (int64_t i = begin; i < end; ++i) {
      const T* box = batch->pred_boxes.read_row(index, anchor[i], 4, scratch);
      boxes.set(i, load_box(box, Format::kCxcywh, Kind::kIou));
    }
  }

  void score_objectness(int64_t begin, int64_t end, std::vector<T>& logits) {
    logits.resize(end - begin);
    batch->obj_logits.gather(index, &anchor[begin], end - begin, 0, logits.data());
    simd_compute_objectness(end - begin, logits.data(), &scores.obj_exp[begin], &scores.obj_softplus[begin]);
  }

  void score_classes(int64_t begin, int64_t end, std::vector<T>& scratch) {
    const Reader<T>& cls_logits = batch->cls_logits;
    const int64_t C = batch->C;
    const T without_obj = batch->without_obj();
    for (int64_t i = begin; i < end; ++i) {
      if (i + kAhead < end) cls_logits.prefetch(index, anchor[i + kAhead], C);
      const T* logits = cls_logits.read_row(index, anchor[i], C, scratch);
      scores.negatives[i] = simd_sum_negatives(logits, C, scores.obj_exp[i], without_obj);
    }
  }

  std::vector<uint8_t> marks_;   // of all anchors, and zeros up to a multiple of kMarks
  std::vector<int32_t> number_;  // of the candidates among all anchors
};

}  // namespace
}  // namespace yolox_ops
