// Sums of exponentials, and the potentials that follow from them: what sinkhorn and ota do on a GPU, where the
// access to a cost should take longer than its exponential. Exponents are float64, so that costs of 1e6 lose nothing.
#pragma once

#include "core/reduce.cuh"
#include "transport/sinkhorn.h"

namespace yolox_ops {
namespace {

// A sum of exponentials: sum * e^top, where top is the largest exponent; of none, 0.
template <class T>
struct LogSum {
  double top;
  T sum;

  static __device__ __forceinline__ LogSum of_none() { return {-1e308, T(0)}; }

  __device__ __forceinline__ void add(double exponent) { add(LogSum{exponent, T(1)}); }

  // Which of two is added to the other does not matter to the bits.
  __device__ __forceinline__ void add(const LogSum& other) {
    const double above = other.top - top;
    const T scale = exp_scaled(static_cast<T>(above > 0 ? -above : above), 0);
    sum = above > 0 ? sum * scale + other.sum : sum + other.sum * scale;
    top = above > 0 ? other.top : top;
  }

  __device__ __forceinline__ double log() const { return top + ::log(static_cast<double>(sum)); }
};

struct AddLogSums {
  template <class T>
  __device__ __forceinline__ LogSum<T> operator()(LogSum<T> a, const LogSum<T>& b) const {
    a.add(b);
    return a;
  }
};

// The logarithm of what a row supplies, or a column demands. What is no such number counts 0.
__device__ __forceinline__ double log_mass(double mass) { return ::log((is_mass(mass) ? mass : 0.0) + kTinyMass); }

// The potential with which a row, or column, carries the mass of that logarithm, if it has `reached` without one; 0 for
// one that has no pair, so that it counts as settled.
template <class T>
__device__ __forceinline__ double potential(const LogSum<T>& reached, double mass) {
  return reached.sum == T(0) ? 0.0 : mass - reached.log();
}

// Whether with the potential it has it carries its mass, but for a part `tolerance` of that.
template <class T>
__device__ __forceinline__ bool holds_mass(const LogSum<T>& reached, double potential, double mass, double tolerance) {
  return settled(::exp(potential + reached.log() - mass), 1.0, tolerance);
}

}  // namespace
}  // namespace yolox_ops
