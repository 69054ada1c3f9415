// A scene as the CPU kernels of simota_cost, simota and ota read it.
#pragma once

#include "assign/anchors.h"
#include "assign/counts.h"
#include "assign/tensors.h"
#include "core/reader.h"

namespace yolox_ops {

template <class T>
struct Batch {
  Batch(const Scene& scene, const Rule& rule_)
      : rule(narrow_rule<T>(rule_)),
        B(scene.pred_boxes.size(0)),
        N(scene.pred_boxes.size(1)),
        C(scene.cls_logits.size(2)),
        G(scene.gt_boxes.size(1)),
        has_obj(scene.obj_logits.has_value()),
        pred_boxes(scene.pred_boxes),
        cls_logits(scene.cls_logits),
        obj_logits(has_obj ? *scene.obj_logits : scene.pred_boxes),
        anchors(scene.anchor_points, scene.strides, rule),
        labels(B * G),
        counts(read_counts(scene.num_gts, B, G)) {
    const Tensor dense_labels = dense(scene.gt_labels, ScalarType::Long),
                 dense_boxes = dense(scene.gt_boxes, kDtype<T>);
    std::copy_n(dense_labels.const_data_ptr<int64_t>(), B * G, labels.begin());
    const T* boxes = dense_boxes.const_data_ptr<T>();
    targets.reserve(B * G);
    gt_boxes.reserve(B * G);
    for (int64_t i = 0; i < B * G; ++i) {
      const T* box = boxes + 4 * i;
      targets.push_back({box[0], box[1], box[2], box[3]});
      gt_boxes.push_back(load_box(box, Format::kCxcywh, Kind::kIou));
    }
    for (int64_t b = 0; b < B; ++b) check_gts(b, scene.gt_labels.scalar_type());
  }

  // The argument of that name in score_odds.
  T without_obj() const { return has_obj ? T(0) : T(1); }

  Objectness<T> read_objectness(int64_t b, int64_t j) const {
    return has_obj ? objectness(obj_logits.at(b, j)) : Objectness<T>{};
  }

  const Box<T>& gt_box(int64_t b, int64_t g) const { return gt_boxes[b * G + g]; }
  const Target<T>& target(int64_t b, int64_t g) const { return targets[b * G + g]; }
  int64_t label(int64_t b, int64_t g) const { return labels[b * G + g]; }

  // The score of one anchor for one class.
  T logit(int64_t b, int64_t j, int64_t c) const { return cls_logits.at(b, j, c); }

  Rule rule;
  int64_t B, N, C, G;
  bool has_obj;
  Reader<T> pred_boxes;  // [B, N, 4]
  Reader<T> cls_logits;  // [B, N, C]
  Reader<T> obj_logits;  // [B, N], where has_obj
  Anchors<T> anchors;
  std::vector<int64_t> labels;     // [B, G]
  std::vector<int64_t> counts;     // [B], real ground truths
  std::vector<Target<T>> targets;  // [B, G]
  std::vector<Box<T>> gt_boxes;    // [B, G]

 private:
  void check_gts(int64_t b, ScalarType label_dtype) const {
    for (int64_t g = 0; g < counts[b]; ++g) {
      const IntegerRead c{label(b, g), label_dtype};
      check(c.value >= 0 && c.value < C, "gt_labels must be in [0, ", C, "), got ", c, " at image ", b, ", row ", g);
      const Target<T>& gt = target(b, g);
      check(is_whole(gt.cx, gt.cy, gt.w, gt.h), "gt_boxes must not be NaN, got NaN at image ", b, ", row ", g);
      check(gt.is_finite(), "gt_boxes must be finite, got inf at image ", b, ", row ", g);
    }
  }
};

// Calls run(Batch<T>) with T = double for float64 predictions, else float.
template <class Run>
void dispatch_batch(const Scene& scene, const Rule& rule, const Run& run) {
  if (is_float64(scene.pred_boxes)) {
    run(Batch<double>(scene, rule));
  } else {
    run(Batch<float>(scene, rule));
  }
}

}  // namespace yolox_ops
