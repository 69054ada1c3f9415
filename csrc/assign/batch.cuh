// A scene as the CUDA kernels of simota_cost, simota and ota read it.
#pragma once

#include "assign/counts.cuh"
#include "assign/tensors.h"
#include "core/device.cuh"
#include "core/reader.h"

namespace yolox_ops {
namespace {

// Anchors, and threads, to a tile. A tile's candidates lie in the workspace from its first anchor's slot on.
constexpr int kTile = 256;

// An anchor that is a candidate, and what it brings to the cost of all its pairs.
template <class T>
struct Candidate {
  Box<T> box;
  T x, y, reach;
  Score<T> score;
  int64_t anchor;
};

template <class T>
struct Truth {
  Target<T> target;
  Box<T> box;
  int64_t label;
  bool real;  // finite, and of a label that exists; what is not real is absent
};

template <class T>
struct Batch {
  Rule rule;
  int64_t B, N, C, G, tiles;
  bool has_obj, has_counts;
  Reader<T> pred_boxes;       // [B, N, 4]
  Reader<T> cls_logits;       // [B, N, C]
  Reader<T> obj_logits;       // [B, N]
  Reader<T> anchor_points;    // [N, 2]
  Reader<T> strides;          // [N]
  Reader<T> gt_boxes;         // [B, G, 4]
  Reader<int64_t> gt_labels;  // [B, G]
  Reader<int64_t> num_gts;    // [B]
  // The workspace of simota_cost and simota.
  Candidate<T>* candidates = nullptr;  // [B, N]
  int32_t* counts = nullptr;           // [B, tiles]
  // Of simota alone.
  int32_t* owners = nullptr;  // [B, N]
  int64_t* num_fg = nullptr;  // [B]

  // The argument of that name in score_odds.
  __device__ T without_obj() const { return has_obj ? T(0) : T(1); }

  __device__ __forceinline__ int64_t count_gts(int64_t b) const { return has_counts ? read_count(num_gts, b, G) : G; }

  __device__ __forceinline__ Truth<T> read_gt(int64_t b, int64_t g) const {
    const T p[4] = {gt_boxes.at(b, g, 0), gt_boxes.at(b, g, 1), gt_boxes.at(b, g, 2), gt_boxes.at(b, g, 3)};
    Truth<T> gt{{p[0], p[1], p[2], p[3]}, load_box(p, Format::kCxcywh, Kind::kIou), gt_labels.at(b, g), false};
    gt.real = gt.target.is_finite() && gt.label >= 0 && gt.label < C;
    return gt;
  }

  __device__ __forceinline__ Box<T> read_box(int64_t b, int64_t anchor) const {
    T p[4];
    for (int m = 0; m < 4; ++m) p[m] = pred_boxes.at(b, anchor, m);
    return load_box(p, Format::kCxcywh, Kind::kIou);
  }

  __device__ __forceinline__ Objectness<T> read_objectness(int64_t b, int64_t anchor) const {
    return has_obj ? objectness(obj_logits.at(b, anchor)) : Objectness<T>{};
  }

  __device__ bool is_inside(const Candidate<T>& c, const Truth<T>& gt) const {
    return classify_anchor(c.x, c.y, c.reach, gt.target, rule.candidates).inside;
  }

  // The cost of a pair without the penalty.
  __device__ __forceinline__ double cost(int64_t b, const Candidate<T>& c, const Truth<T>& gt, T overlap) const {
    return pair_cost(overlap, cls_logits.at(b, c.anchor, gt.label), c.score, without_obj(), rule);
  }

  // The same with the penalty where there is one.
  __device__ __forceinline__ double full_cost(int64_t b, const Candidate<T>& c, const Truth<T>& gt) const {
    return cost(b, c, gt, iou(gt.box, c.box)) + (is_inside(c, gt) ? 0.0 : rule.outside_penalty);
  }
};

// A batch without its workspace.
template <class T>
Batch<T> read_batch(const Scene& scene, const Rule& rule) {
  const int64_t N = scene.pred_boxes.size(1);
  return {.rule = narrow_rule<T>(rule),
          .B = scene.pred_boxes.size(0),
          .N = N,
          .C = scene.cls_logits.size(2),
          .G = scene.gt_boxes.size(1),
          .tiles = (N + kTile - 1) / kTile,
          .has_obj = scene.obj_logits.has_value(),
          .has_counts = scene.num_gts.has_value(),
          .pred_boxes = Reader<T>(scene.pred_boxes),
          .cls_logits = Reader<T>(scene.cls_logits),
          .obj_logits = scene.obj_logits ? Reader<T>(*scene.obj_logits) : Reader<T>(),
          .anchor_points = Reader<T>(scene.anchor_points),
          .strides = Reader<T>(scene.strides),
          .gt_boxes = Reader<T>(scene.gt_boxes),
          .gt_labels = Reader<int64_t>(scene.gt_labels),
          .num_gts = scene.num_gts ? Reader<int64_t>(*scene.num_gts) : Reader<int64_t>()};
}

}  // namespace
}  // namespace yolox_ops
