// Sinkhorn's iteration, once for CPU and CUDA: Cuturi 2013, in the log domain, with the order and constants of Megvii's
// OTA.
//
// plan_ij = row_i entry_ij column_j. An entry is exp(x_i + y_j - cost_ij / epsilon) with potentials x, y as they were
// when entries were last computed; in between an iteration is multiplications only: column_j makes column j carry its
// demand, row_i makes row i carry its supply. When a factor leaves [1 / kWindow, kWindow] all factors go into the
// potentials, and entries are computed anew. So nothing that has mass is ever out of a float's range, whatever the
// costs.
//
// Two steps begin: y_j = least of cost_ij / epsilon - x_i makes the largest entry of every column 1, for column
// factors; with those in y, x_i = least of cost_ij / epsilon - y_j does so for rows.
#pragma once

#include "common.h"
#include "numeric.h"

namespace yolox_ops {

struct SinkhornRule {
  double epsilon;
  int64_t iterations;
  double tolerance;
};

inline SinkhornRule parse_sinkhorn(double epsilon, int64_t iterations, double tolerance) {
  check_between(epsilon, "epsilon", 1e-6, 1e6);
  check(iterations >= 1, "iterations must be at least 1, got ", iterations);
  check(tolerance >= 0, "tolerance must be at least 0, got ", tolerance);
  return {epsilon, iterations, tolerance};
}

// The guards of sinkhorn's tensors.
inline void check_transport(const Tensor& cost, const Tensor& supply, const Tensor& demand) {
  check_shape(cost, "cost", "[B, M, N]", {-1, -1, -1});
  check_shape(supply, "supply", "[B, M]", {cost.size(0), cost.size(1)});
  check_shape(demand, "demand", "[B, N]", {cost.size(0), cost.size(2)});
  check_floating(cost, "cost");
  check_floating(supply, "supply");
  check_floating(demand, "demand");
  check_same_device(supply, "supply", cost, "cost");
  check_same_device(demand, "demand", cost, "cost");
}

// Added to a supply or a demand, so that one of 0 has a logarithm.
constexpr double kTinyMass = 1e-8;
constexpr double kMostMass = 1e12;
constexpr double kWindow = 1e7;

YOLOX_OPS_INLINE bool is_mass(double mass) { return mass >= 0 && mass <= kMostMass; }

template <class T>
YOLOX_OPS_INLINE bool is_finite(T x) {
  return x - x == T(0);
}

// cost / epsilon; +inf for a pair that is to have no mass.
template <class T>
YOLOX_OPS_INLINE double scaled_cost(T cost, double per_epsilon) {
  const double scaled = static_cast<double>(cost) * per_epsilon;
  return is_finite(cost) ? scaled : 1e308 * 10;
}

// x + y: the potentials of row and column.
template <class T>
YOLOX_OPS_INLINE T entry(double potentials, T cost, double per_epsilon) {
  const T value = exp_scaled(static_cast<T>(potentials - static_cast<double>(cost) * per_epsilon), 0);
  return is_finite(cost) ? value : T(0);
}

// The factor of a row or column that holds `sum` without one; 0 if it holds nothing.
template <class T>
YOLOX_OPS_INLINE T factor(T mass, T sum) {
  return ratio_or_zero(mass, sum);
}

template <class T>
YOLOX_OPS_INLINE bool leaves_window(T f) {
  return (f > T(kWindow)) | ((f < T(1 / kWindow)) & (f > T(0)));
}

// Whether a row holds what it should, but for a part `tolerance` of that; one that holds nothing cannot.
template <class T>
YOLOX_OPS_INLINE bool settled(T held, T mass, double tolerance) {
  const T miss = held > mass ? held - mass : mass - held;
  return (miss <= T(tolerance) * mass) | (held == T(0));
}

}  // namespace yolox_ops
