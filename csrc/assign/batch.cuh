// A scene as the CUDA kernels of simota_cost, simota and ota read it.
#pragma once

#include "assign/counts.cuh"
#include "assign/tensors.h"
#include "core/device.cuh"
#include "core/reader.h"

namespace yolox_ops {
namespace {

template <class T>
struct Truth {
  Target<T> target;
  Box<T> box;
  int64_t label;
  bool real;  // finite, and of a label that exists; what is not real is absent
};

// How the numbers of a scene are read: of any dtypes, each of which is asked for at every element,
template <class T>
struct AnyDtypes {
  using Geometry = Reader<T>;
  using Logits = Reader<T>;
};
// or of the usual ones: float32, and logits of one dtype.
template <class Logit>
struct UsualDtypes {
  using Geometry = TypedReader<float, float>;
  using Logits = TypedReader<float, Logit>;
};

template <class T, class Dtypes = AnyDtypes<T>>
struct Batch {
  using Geometry = typename Dtypes::Geometry;
  using Logits = typename Dtypes::Logits;

  Rule rule;
  int64_t B, N, C, G;
  bool has_obj, has_counts;
  Geometry pred_boxes;        // [B, N, 4]
  Logits cls_logits;          // [B, N, C]
  Logits obj_logits;          // [B, N]
  Geometry anchor_points;     // [N, 2]
  Geometry strides;           // [N]
  Geometry gt_boxes;          // [B, G, 4]
  Reader<int64_t> gt_labels;  // [B, G]
  Reader<int64_t> num_gts;    // [B]

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

  __device__ __forceinline__ T read_reach(int64_t anchor) const { return reach_of(strides.at(anchor), rule); }

  __device__ __forceinline__ Objectness<T> read_objectness(int64_t b, int64_t anchor) const {
    return has_obj ? objectness(obj_logits.at(b, anchor)) : Objectness<T>{};
  }
};

template <class T, class Dtypes = AnyDtypes<T>>
Batch<T, Dtypes> read_batch(const Scene& scene, const Rule& rule) {
  using Geometry = typename Dtypes::Geometry;
  using Logits = typename Dtypes::Logits;
  return {.rule = narrow_rule<T>(rule),
          .B = scene.pred_boxes.size(0),
          .N = scene.pred_boxes.size(1),
          .C = scene.cls_logits.size(2),
          .G = scene.gt_boxes.size(1),
          .has_obj = scene.obj_logits.has_value(),
          .has_counts = scene.num_gts.has_value(),
          .pred_boxes = Geometry(scene.pred_boxes),
          .cls_logits = Logits(scene.cls_logits),
          .obj_logits = scene.obj_logits ? Logits(*scene.obj_logits) : Logits(),
          .anchor_points = Geometry(scene.anchor_points),
          .strides = Geometry(scene.strides),
          .gt_boxes = Geometry(scene.gt_boxes),
          .gt_labels = Reader<int64_t>(scene.gt_labels),
          .num_gts = scene.num_gts ? Reader<int64_t>(*scene.num_gts) : Reader<int64_t>()};
}

// Calls f(batch) with the readers that suit the scene.
template <class F>
void dispatch_scene(const Scene& scene, const Rule& rule, const F& f) {
  const ScalarType logits = scene.cls_logits.scalar_type();
  bool usual = !scene.obj_logits || scene.obj_logits->scalar_type() == logits;
  for (const Tensor& t : {scene.pred_boxes, scene.anchor_points, scene.strides, scene.gt_boxes}) {
    usual &= t.scalar_type() == ScalarType::Float;
  }
  if (usual && logits == ScalarType::Float) return f(read_batch<float, UsualDtypes<float>>(scene, rule));
  if (usual && logits == ScalarType::Half) {
    return f(read_batch<float, UsualDtypes<torch::headeronly::Half>>(scene, rule));
  }
  if (usual && logits == ScalarType::BFloat16) {
    return f(read_batch<float, UsualDtypes<torch::headeronly::BFloat16>>(scene, rule));
  }
  dispatch_dtype(compute_dtype(scene.pred_boxes), [&]<class T>() { f(read_batch<T>(scene, rule)); });
}

}  // namespace
}  // namespace yolox_ops
