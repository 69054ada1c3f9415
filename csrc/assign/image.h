// One image of a batch for simota_cost and simota: its candidates, their boxes and scores, and the costs of pairs.
#pragma once

#include <cstring>

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

template <class T>
class Image {
 public:
  // Reuses the memory of the image before.
  void prepare(const Batch<T>& s, int64_t b) {
    batch = &s;
    index = b;
    gts = s.counts[b];
    find_candidates();
    boxes.resize(size());
    scores.resize(size());
    parallel_for(0, size(), kCandidateGrain, [&](int64_t begin, int64_t end) {
      std::vector<T> scratch;
      for (int64_t i = begin; i < end; ++i) {
        boxes.set(i, load_box(s.pred_boxes.read_row(b, anchor[i], 4, scratch), Format::kCxcywh, Kind::kIou));
      }
      if (s.has_obj) {
        std::vector<T> logits(end - begin);
        s.obj_logits.gather(b, &anchor[begin], end - begin, 0, logits.data());
        simd_compute_objectness(end - begin, logits.data(), &scores.obj_exp[begin], &scores.obj_softplus[begin]);
      }
      for (int64_t i = begin; i < end; ++i) {
        if (i + kAhead < end) s.cls_logits.prefetch(b, anchor[i + kAhead], s.C);
        const T* logits = s.cls_logits.read_row(b, anchor[i], s.C, scratch);
        scores.negatives[i] = simd_sum_negatives(logits, s.C, scores.obj_exp[i], s.without_obj());
      }
    });
  }

  int64_t size() const { return static_cast<int64_t>(anchor.size()); }
  const Box<T>& gt_box(int64_t g) const { return batch->gt_boxes[index * batch->G + g]; }
  const Target<T>& target(int64_t g) const { return batch->targets[index * batch->G + g]; }

  int64_t label(int64_t g) const { return batch->labels[index * batch->G + g]; }

  // Lays pair (g, candidate) at `slot`.
  void gather(Pairs<T>& pairs, int64_t slot, int64_t g, int64_t candidate) const {
    pairs.overlap[slot] = iou(gt_box(g), boxes.view()[candidate]);
    pairs.logit[slot] = batch->logit(index, anchor[candidate], label(g));
    pairs.scores.negatives[slot] = scores.negatives[candidate];
    pairs.scores.obj_exp[slot] = scores.obj_exp[candidate];
    pairs.scores.obj_softplus[slot] = scores.obj_softplus[candidate];
  }

  // Costs of the first n slots, without penalty.
  void cost(Pairs<T>& pairs, int64_t n) const { cost(pairs, n, pairs.scores); }

  // Overlaps and costs of ground truth g with all candidates, each at its own number, without penalty.
  void cost_row(Pairs<T>& pairs, int64_t g) const {
    pairs.overlap.resize(size());
    pairs.logit.resize(size());
    pairs.cost.resize(size());
    simd_compute_overlaps(gt_box(g), boxes.view(), size(), pairs.overlap.data());
    batch->cls_logits.gather(index, anchor.data(), size(), label(g), pairs.logit.data());
    cost(pairs, size(), scores);
  }

  const Batch<T>* batch = nullptr;
  int64_t index = 0, gts = 0;
  std::vector<int32_t> anchor;        // the candidates, ascending
  std::vector<int32_t> inside;        // candidates that pay no penalty, gt after gt, ascending within one
  std::vector<int64_t> inside_begin;  // [gts + 1]
  BoxArrays<T> boxes;
  Scores<T> scores;

 private:
  void cost(Pairs<T>& pairs, int64_t n, const Scores<T>& of) const {
    simd_compute_costs(n, pairs.overlap.data(), pairs.logit.data(), of.negatives.data(), of.obj_exp.data(),
                       of.obj_softplus.data(), batch->without_obj(), batch->rule, pairs.cost.data());
  }

  void find_candidates() {
    marks_.assign((batch->N + 7) / 8 * 8, 0);
    inside.clear();
    inside_begin.assign(1, 0);
    for (int64_t g = 0; g < gts; ++g) {
      batch->anchors.each_candidate(target(g), batch->rule.candidates, [&](int64_t j, bool is_inside) {
        marks_[j] = 1;
        if (is_inside) inside.push_back(static_cast<int32_t>(j));
      });
      inside_begin.push_back(static_cast<int64_t>(inside.size()));
    }
    anchor.clear();
    position_.resize(batch->N);
    for (int64_t j = 0; j < batch->N; ++j) {
      uint64_t eight;  // candidates are few: look at eight marks at once
      std::memcpy(&eight, &marks_[j / 8 * 8], sizeof eight);
      if (eight == 0) {
        j |= 7;
      } else if (marks_[j]) {
        position_[j] = static_cast<int32_t>(anchor.size());
        anchor.push_back(static_cast<int32_t>(j));
      }
    }
    for (int32_t& j : inside) j = position_[j];
  }

  std::vector<uint8_t> marks_;
  std::vector<int32_t> position_;
};

}  // namespace
}  // namespace yolox_ops
