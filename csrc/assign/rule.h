// SimOTA's geometry and cost, once for CPU and CUDA. Ge et al. 2021 (YOLOX), section 2.1, as Megvii's code has it.
#pragma once

#include <cstdint>

#include "boxes/box.h"

namespace yolox_ops {

// Which anchors are candidates, and which of them pay no penalty:
//   kCenter       those in the centre region, and the same
//   kBoxOrCenter  those in the box or the centre region; those in both
//   kBoxAndCenter those in the box, by more than kInnerMargin, and in the centre region; the same
//   kAll          all; those within a circle
enum class Candidates { kCenter, kBoxOrCenter, kBoxAndCenter, kAll };

constexpr double kInnerMargin = 0.01;  // pixels

struct Rule {
  double center_radius;  // in strides, in pixels for kAll
  Candidates candidates;
  double outside_penalty;
  double cls_weight;
  double iou_weight;
  double iou_eps;
  int64_t topk;
  bool to_nearest;  // k is the sum of overlaps to the nearest integer, half to even, and may be 0; else cut off, at
                    // least 1
};

// The rule with numbers that keep their meaning in T.
template <class T>
Rule narrow_rule(Rule rule) {
  for (double* number : {&rule.center_radius, &rule.cls_weight, &rule.iou_weight}) *number = narrow<T>(*number);
  return rule;
}

// A ground truth: centre and size, as the geometry test wants it. A size of 0 or less has no inside and no overlap by
// every formula there is.
template <class T>
struct Target {
  T cx, cy, w, h;

  // In the dtype of the arithmetic, where a number that was finite may not be so any more.
  YOLOX_OPS_INLINE bool is_finite() const {
    return yolox_ops::is_finite(cx) & yolox_ops::is_finite(cy) & yolox_ops::is_finite(w) & yolox_ops::is_finite(h);
  }
};

// How far from an anchor's centre the centre of a ground truth may lie.
template <class T>
YOLOX_OPS_INLINE T reach_of(T stride, const Rule& rule) {
  return static_cast<T>(rule.center_radius) * (rule.candidates == Candidates::kAll ? T(1) : stride);
}

// What an anchor is to a ground truth.
struct AnchorClass {
  bool candidate;  // because of this ground truth
  bool inside;     // the ground truth's own region, where the pair pays no penalty
};

// x, y: the anchor's centre; reach as above. Every comparison is strict but the circle's.
template <class T>
YOLOX_OPS_INLINE AnchorClass classify_anchor(T x, T y, T reach, const Target<T>& gt, Candidates candidates) {
  if (candidates == Candidates::kAll) {
    const T dx = x - gt.cx, dy = y - gt.cy, square = dx * dx + dy * dy;
    return {square == square, square <= reach * reach};
  }
  const bool center = (x > gt.cx - reach) & (x < gt.cx + reach) & (y > gt.cy - reach) & (y < gt.cy + reach);
  if (candidates == Candidates::kCenter) return {center, center};

  const T half_w = gt.w * T(0.5), half_h = gt.h * T(0.5);
  if (candidates == Candidates::kBoxAndCenter) {
    const T margin = T(kInnerMargin);
    const bool inner = (x - (gt.cx - half_w) > margin) & (gt.cx + half_w - x > margin) &
                       (y - (gt.cy - half_h) > margin) & (gt.cy + half_h - y > margin);
    const bool both = center & inner;
    return {both, both};
  }
  const bool box = (x > gt.cx - half_w) & (x < gt.cx + half_w) & (y > gt.cy - half_h) & (y < gt.cy + half_h);
  const bool either = center | box, both = center & box;
  return {either, both};
}

// Class cost of score p = sqrt(sigmoid(c) sigmoid(o)), c and o logits. With s = (1 + e^-c)(1 + e^-o) - 1,
//   -log(1 - p) = log((1 + s + sqrt(1 + s)) / s)   and   -log(p) = (log(1 + e^-c) + log(1 + e^-o)) / 2,
// which holds its digits where p itself would round to 1. Tiny s, and addends of s yet smaller, are kept times
// 2^kShift.
template <class T>
constexpr int kShift = sizeof(T) == 4 ? 42 : 0;
template <class T>
constexpr T kUnit = T(int64_t{1} << kShift<T>);

// PyTorch's binary_cross_entropy clamps each logarithm there.
template <class T>
constexpr T kMaxTerm = T(100);

// s 2^kShift from e^-c 2^kShift and e^-o 2^kShift, limited so that neither 1 / s nor s overflows and no term passes the
// clamp.
template <class T>
YOLOX_OPS_INLINE T score_odds(T cls_exp, T obj_exp) {
  const T lowest = static_cast<T>(7.440151952041672e-44 * kUnit<T>);  // s = 2 e^-100
  const T s = cls_exp * (T(1) + obj_exp * (T(1) / kUnit<T>)) + obj_exp;
  return at_least(at_most(s, T(1e38)), lowest);
}
// The same where there may be no objectness. Then the score is sigmoid(c), which is what o = c gives: obj_exp is 0 and
// without_obj 1, else without_obj is 0.
template <class T>
YOLOX_OPS_INLINE T score_odds(T cls_exp, T obj_exp, T without_obj) {
  return score_odds(cls_exp, obj_exp + without_obj * cls_exp);
}

// (1 + s + sqrt(1 + s)): what stands over s in -log(1 - p).
template <class T>
YOLOX_OPS_INLINE T over_odds(T scaled_odds) {
  const T s1 = T(1) + scaled_odds * (T(1) / kUnit<T>);
  return s1 + sqrt_(s1);
}

// Sums over this many classes run side by side, whatever the width of a vector or a warp, so that all give the same
// bits.
constexpr int64_t kSums = 16;
// Factors below 2 that a float can take in before their product overflows, with room to spare.
constexpr int64_t kFactors = 64;
// A logit that adds nothing to a sum.
constexpr double kNoClass = -1e30;

// Multiplies a class of these odds into a quotient of products whose logarithm is the sum of -log(1 - p): no logarithm
// per class. The split loses NaN.
template <class T>
YOLOX_OPS_INLINE void multiply_class(T odds, T& over, T& under, int32_t& exponent) {
  Bits<T> of_over, of_under;
  over *= split(over_odds(odds), of_over);
  under *= split(odds, of_under);
  exponent += exponent_of(of_over - of_under) + kShift<T>;
}

// log(1 + e^-x), at most 200: half of that reaches the clamp already, and for -inf it must stay a number.
template <class T>
YOLOX_OPS_INLINE T softplus_of_minus(T x) {
  const T log = log_scaled(T(1) + exp_scaled(-x, 0), 0);
  const T most = T(2) * kMaxTerm<T>;
  return x < T(-60) ? (x < -most ? most : -x) : log;
}

// What an anchor's objectness brings to its scores; zeros without one.
template <class T>
struct Objectness {
  T exp;       // e^-o 2^kShift
  T softplus;  // log(1 + e^-o)
};

template <class T>
YOLOX_OPS_INLINE Objectness<T> objectness(T logit) {
  return {exp_scaled(-logit, kShift<T>), softplus_of_minus(logit)};
}

// What an anchor brings to the cost of all its pairs.
template <class T>
struct Score {
  double negatives;  // sum over classes of -log(1 - p)
  Objectness<T> obj;
};

// Of a score p of one class.
template <class T>
struct Entropies {
  T positive, negative;  // -log(p) and -log(1 - p), clamped
};

// `logit` is the class's.
template <class T>
YOLOX_OPS_INLINE Entropies<T> entropies(T logit, Objectness<T> obj, T without_obj) {
  const T odds = score_odds(exp_scaled(-logit, kShift<T>), obj.exp, without_obj);
  const T softplus = softplus_of_minus(logit);
  const T negative = log_scaled(over_odds(odds) / odds, kShift<T>);
  const T positive = (softplus + (obj.softplus + without_obj * softplus)) * T(0.5);
  return {positive > kMaxTerm<T> ? kMaxTerm<T> : positive, negative > kMaxTerm<T> ? kMaxTerm<T> : negative};
}

// The cost of a pair, without the penalty. `logit` is the anchor's for the ground truth's class.
template <class T>
YOLOX_OPS_INLINE T pair_cost(T overlap, T logit, const Score<T>& score, T without_obj, const Rule& rule) {
  const Entropies<T> entropy = entropies(logit, score.obj, without_obj);
  const T sum = static_cast<T>(score.negatives + static_cast<double>(entropy.positive - entropy.negative));
  const T cls = sum < T(0) ? T(0) : sum;
  return T(rule.cls_weight) * cls - T(rule.iou_weight) * log_scaled(overlap + T(rule.iou_eps), 0);
}

// How many of `most` anchors a ground truth takes, whose largest overlaps add up to `sum`.
template <class T>
YOLOX_OPS_INLINE int64_t dynamic_k(T sum, int64_t most, bool to_nearest) {
  const T whole = to_nearest ? rint_(sum) : sum;
  const int64_t least = to_nearest || most == 0 ? 0 : 1;
  const int64_t k = whole < static_cast<T>(most) ? static_cast<int64_t>(whole) : most;
  return k < least ? least : k;
}

// What an anchor has instead of a ground truth before conflicts are settled.
enum Owner : int32_t { kNobody = -1, kSeveral = -2 };

// The order in which pairs are preferred: numbers, then NaN, then +inf, which never matches; the lower cost; the lower
// index. Costs are compared as float64, where adding a penalty of 1e6 rounds nothing away.
struct Preference {
  int rank;
  double cost;
  int64_t index;

  Preference() = default;
  YOLOX_OPS_INLINE Preference(double cost_, int64_t index_)
      : rank(cost_ != cost_ ? 1 : 2 * (cost_ > 1.7976931348623157e308)), cost(rank ? 0.0 : cost_), index(index_) {}

  YOLOX_OPS_INLINE bool operator<(const Preference& other) const {
    if (rank != other.rank) return rank < other.rank;
    return cost != other.cost ? cost < other.cost : index < other.index;
  }
};

// A pair outside a ground truth's own region costs at least this: no cost is below -iou_weight * log(1 + iou_eps), and
// iou_eps is at most 1.
YOLOX_OPS_INLINE double least_penalised(const Rule& rule) { return rule.outside_penalty - rule.iou_weight; }

}  // namespace yolox_ops
