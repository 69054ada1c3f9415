// Potentials of rows and columns, and the entries of a plan that follow from them: 2^(x + y - cost log2(e) / epsilon).
// Where costs are large, potentials are too, and what counts is their difference. So a potential is two numbers, and
// the sum is right to the last digit of the difference: no operation here is float64, unless T is.
#pragma once

#include "core/device.cuh"
#include "transport/sinkhorn.h"

namespace yolox_ops {
namespace {

// high + low, of which low is less than what high rounds.
template <class T>
struct alignas(2 * sizeof(T)) Potential {
  T high, low;
};

// a + b, nothing lost: Knuth's two-sum.
template <class T>
__device__ __forceinline__ Potential<T> add_exactly(T a, T b) {
  const T sum = a + b, of_b = sum - a;
  return {sum, (a - (sum - of_b)) + (b - of_b)};
}

template <class T>
__device__ __forceinline__ Potential<T> raise(Potential<T> potential, T by) {
  const auto [high, low] = add_exactly(potential.high, by);
  const T rest = low + potential.low, sum = high + rest;
  return {sum, rest - (sum - high)};
}

__device__ __forceinline__ float power_of_2(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}
__device__ __forceinline__ double power_of_2(double x) { return ::exp2(x); }
__device__ __forceinline__ float log_of_2(float x) {
  float log;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(log) : "f"(x));
  return log;
}
__device__ __forceinline__ double log_of_2(double x) { return ::log2(x); }

// What a cost counts by, and the largest that has mass.
template <class T>
struct CostScale {
  T high, low;  // -log2(e) / epsilon
  T most;

  explicit CostScale(double epsilon) : most(static_cast<T>(kMostScaled * epsilon)) {
    constexpr double kLog2e = 1.4426950408889634;
    const double exact = -kLog2e / epsilon, per_epsilon = 1 / epsilon;
    high = static_cast<T>(exact);
    low = static_cast<T>(exact - static_cast<double>(high));
    const auto has_mass = [&](T cost) { return scale_cost(cost, per_epsilon) <= kMostScaled; };
    while (!has_mass(most)) most = std::nextafter(most, T(0));
    for (T next = most; has_mass(next); next = std::nextafter(next, std::numeric_limits<T>::infinity())) most = next;
  }

  __device__ __forceinline__ bool has_mass(T cost) const { return ::fabs(cost) <= most; }

  // The logarithm of an entry.
  __device__ __forceinline__ T exponent(Potential<T> x, Potential<T> y, T cost) const {
    const auto [sum, lost] = add_exactly(x.high, y.high);
    const T left = ::fma(cost, low, ::fma(cost, high, sum));
    return left + (lost + (x.low + y.low));
  }

  __device__ __forceinline__ T entry(Potential<T> x, Potential<T> y, T cost) const {
    const T power = power_of_2(exponent(x, y, cost));
    return has_mass(cost) ? power : T(0);
  }

  // The potential of a column whose entry at this cost is 1 in a row of potential 0.
  __device__ __forceinline__ Potential<T> potential(T cost) const {
    const T scaled = -cost * high;
    return {scaled, ::fma(-cost, low, ::fma(-cost, high, -scaled))};
  }
};

// The potential with which mass is held where `held` was; of what has no pair, as it was.
template <class T>
__device__ __forceinline__ Potential<T> hold(Potential<T> potential, T mass, T held) {
  return held > T(0) ? raise(potential, log_of_2(mass / held)) : potential;
}

// What a row supplies, or a column demands. What is no such number counts 0.
template <class T>
__device__ __forceinline__ T read_mass(double mass) {
  return static_cast<T>((is_mass(mass) ? mass : 0.0) + kTinyMass);
}

}  // namespace
}  // namespace yolox_ops
