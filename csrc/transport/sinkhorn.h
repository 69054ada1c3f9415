// Sinkhorn's iteration, what its kernels on CPU and GPU share: Cuturi 2013, with the order and the constants of
// Megvii's OTA.
#pragma once

#include "core/guards.h"
#include "core/numeric.h"

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
inline void check_transport(const Tensor& cost,      // [B, M, N]
                            const Tensor& supply,    // [B, M]
                            const Tensor& demand) {  // [B, N]
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

YOLOX_OPS_INLINE bool is_mass(double mass) { return mass >= 0 && mass <= kMostMass; }

// The most that |cost / epsilon| may be for a pair to have mass. Potentials are as large, and float64's last digit is
// 1e-4 there; at 1e18 it is 128, and e^128 is infinite in float32.
constexpr double kMostScaled = 0x1p40;

// cost / epsilon; +inf for a pair that is to have no mass.
template <class T>
YOLOX_OPS_INLINE double scale_cost(T cost, double per_epsilon) {
  const double scaled = static_cast<double>(cost) * per_epsilon;
  return ::fabs(scaled) <= kMostScaled ? scaled : static_cast<double>(INFINITY);
}

// x + y: the potentials of row and column.
template <class T>
YOLOX_OPS_INLINE T entry(double potentials, T cost, double per_epsilon) {
  const double scaled = scale_cost(cost, per_epsilon);
  const T value = exp_scaled(static_cast<T>(potentials - scaled), 0);
  return scaled <= kMostScaled ? value : T(0);
}

// Whether a row holds what it should, but for a part `tolerance` of that; one that holds nothing cannot.
template <class T>
YOLOX_OPS_INLINE bool settled(T held, T mass, double tolerance) {
  const T miss = held > mass ? held - mass : mass - held;
  return (miss <= T(tolerance) * mass) | (held == T(0));
}

}  // namespace yolox_ops
