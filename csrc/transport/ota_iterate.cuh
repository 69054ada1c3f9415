// Sinkhorn's iteration on one image, by a block, as transport/sinkhorn_factors.h has it: entries with potentials in
// float64, and factors in T that go into the potentials when one leaves [1 / kWindow, kWindow]. In between an iteration
// is products and sums: no exponential, no logarithm, and no float64 in float32's.
#pragma once

#include "transport/ota_rows.cuh"
#include "transport/sinkhorn_loops.h"

namespace yolox_ops {
namespace {

// The potential of a column that makes its largest entry 1.
template <class T>
__device__ __forceinline__ void choose_columns(const OtaImage<T>& image) {
  image.each_column([&](int32_t c) {
    double most = image.x[image.background()];
    image.each_of_column(c, [&](int32_t i) { most = max(most, image.x[i / kListed] - image.scaled(image.costs[i])); });
    for (int32_t r = 1; r < image.n_dense; ++r) {
      most = max(most, image.x[image.background() + r] - image.scaled(image.read_dense_cost(r, c)));
    }
    image.y[c] = -most;
  });
  __syncthreads();
}

// The same of a row.
template <class T>
__device__ __forceinline__ void choose_rows(const OtaImage<T>& image) {
  reduce_rows(
      image, -static_cast<double>(INFINITY),
      [&](int32_t i) { return image.y[image.pair_column[i]] - image.scaled(image.costs[i]); },
      [&](int32_t r, int32_t c) { return image.y[c] - image.scaled(image.read_dense_cost(r, c)); },
      [](double a, double b) { return max(a, b); }, [&](int32_t row, double most) { image.x[row] = -most; });
  __syncthreads();
}

template <class T>
__device__ __forceinline__ void fill_entries(const OtaImage<T>& image) {
  image.each_listed([&](int32_t i) {
    const double potentials = image.x[i / kListed] + image.y[image.pair_column[i]];
    image.entries[i] = entry(potentials, image.costs[i], image.per_epsilon);
  });
  for (int32_t r = 0; r < image.count_kept(); ++r) {
    image.each_column([&](int32_t c) { image.point_at_entries(r)[c] = image.compute_dense_entry(r, c); });
  }
  __syncthreads();
}

// The logarithm of a factor, of which no part is lost next to a large exponent.
__device__ __forceinline__ double log_factor(float factor) {
  uint32_t exponent;
  const float rest = log_scaled(split(factor, exponent), 0);
  return exponent_of(exponent) * 0.693147180559945309 + static_cast<double>(rest);
}
__device__ __forceinline__ double log_factor(double factor) { return ::log(factor); }

template <class T>
__device__ __forceinline__ void fold_factor(double& potential, T& factor) {
  potential += log_factor(factor);
  factor = T(1);
}

// Puts the factors into the potentials.
template <class T>
__device__ __forceinline__ void fold_factors(const OtaImage<T>& image) {
  for (int32_t g = threadIdx.x; g < image.gts; g += kThreads) {
    if (image.rows[g].pairs > 0) fold_factor(image.x[g], image.row_factors[g]);
  }
  for (int32_t row = threadIdx.x + image.background(); row < image.background() + image.n_dense; row += kThreads) {
    fold_factor(image.x[row], image.row_factors[row]);
  }
  image.each_column([&](int32_t c) { fold_factor(image.y[c], image.column_factors[c]); });
  __syncthreads();
}

// Of this thread: whether a factor that it set left the window, and a row that it set did not hold its supply before.
struct Seen {
  bool left = false, moves = false;
};

template <class T>
__device__ __forceinline__ bool leaves_window(T factor) {
  return window_left(1, &factor);
}

template <class T>
__device__ __forceinline__ void set_columns(const OtaImage<T>& image, Seen& seen) {
  const T* dense_factors = image.row_factors + image.background();
  const int32_t kept = image.count_kept();
  const T demand = static_cast<T>(1 + kTinyMass);
  const T demand_of_rest = static_cast<T>(max(image.count_free(), 1) * (1 + kTinyMass));
  const T of_background = dense_factors[0];
  const int64_t N = image.p.batch.N;
  image.each_column([&](int32_t c) {
    const T* entry = image.dense_entries + c;
    T held = of_background * *entry;
    for (int32_t r = 1; r < kept; ++r) held += dense_factors[r] * *(entry += N);
    for (int32_t r = kept; r < image.n_dense; ++r) held += dense_factors[r] * image.compute_dense_entry(r, c);
    image.each_of_column(c, [&](int32_t i) { held += image.row_factors[i / kListed] * image.entries[i]; });
    const T factor = ratio_or_zero(c < image.n_listed ? demand : demand_of_rest, held);
    seen.left |= leaves_window(factor);
    image.column_factors[c] = factor;
  });
}

template <class T>
__device__ __forceinline__ void set_rows(const OtaImage<T>& image, Seen& seen) {
  const double tolerance = image.p.rule.sinkhorn.tolerance;
  const int32_t kept = image.count_kept();
  reduce_rows(
      image, T(0), [&](int32_t i) { return image.entries[i] * image.column_factors[image.pair_column[i]]; },
      [&](int32_t r, int32_t c) {
        return (r < kept ? image.point_at_entries(r)[c] : image.compute_dense_entry(r, c)) * image.column_factors[c];
      },
      std::plus<>(),
      [&](int32_t row, T sum) {
        T& factor = image.row_factors[row];
        seen.moves |= !settled(factor * sum, image.supplies[row], tolerance);
        factor = ratio_or_zero(image.supplies[row], sum);
        seen.left |= leaves_window(factor);
      });
}

template <class T>
__device__ __forceinline__ void iterate(const OtaImage<T>& image) {
  const SinkhornRule& rule = image.p.rule.sinkhorn;
  choose_columns(image);
  fill_entries(image);
  for (int64_t t = 0; t < rule.iterations; ++t) {
    Seen seen;
    set_columns(image, seen);
    if (t == 0) {
      choose_rows(image);
      fill_entries(image);
    }
    set_rows(image, seen);
    const bool left = __syncthreads_or(seen.left);
    if (rule.tolerance > 0 && t > 0 && !__syncthreads_or(seen.moves)) break;
    if (left) {
      fold_factors(image);
      fill_entries(image);
    }
  }
  fold_factors(image);
}

}  // namespace
}  // namespace yolox_ops
