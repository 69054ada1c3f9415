// Sinkhorn's iteration on one image, by a block.
#pragma once

#include "transport/ota_image.cuh"

namespace yolox_ops {
namespace {

template <class T>
__device__ __forceinline__ void set_columns(const OtaImage<T>& image) {
  for (int32_t c = threadIdx.x; c < image.n_columns; c += kThreads) {
    const int32_t anchor = image.columns[c];
    LogSum<T> reached{image.x[image.background()], T(1)};
    image.each_of_column(anchor, [&](int32_t g, T cost) { reached.add(image.x[g] - image.scaled(cost)); });
    image.y[anchor] = potential(reached, image.demand());
  }
}

// By the first lane of a warp: whether the row held its supply before.
template <class T>
__device__ __forceinline__ bool set_row(const OtaImage<T>& image, int32_t row, const LogSum<T>& reached) {
  if (threadIdx.x % 32 != 0) return true;
  const bool settled = holds_mass(reached, image.x[row], image.supply[row], image.p.rule.sinkhorn.tolerance);
  image.x[row] = potential(reached, image.supply[row]);
  image.row_top[row] = reached.top;
  return settled;
}

// A warp to each. Whether this thread saw no row that did not hold its supply before.
template <class T>
__device__ __forceinline__ bool set_listed_rows(const OtaImage<T>& image) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  bool settled = true;
  for (int32_t g = warp; g < image.gts; g += kWarps) {
    if (image.rows[g].reach != Reach::kListed) continue;
    auto reached = LogSum<T>::of_none();
    for (int32_t i = g * kListed + lane; i < g * kListed + image.rows[g].pairs; i += 32) {
      reached.add(image.y[image.anchors[i]] - image.scaled(image.costs[i]));
    }
    settled &= set_row(image, g, warp_reduce(reached, AddLogSums()));
  }
  return settled;
}

// This thread's part of what reaches the background. The first thread has the free columns too, whose potential is
// `rest`.
template <class T>
__device__ __forceinline__ LogSum<T> reach_background(const OtaImage<T>& image, double rest) {
  auto reached = LogSum<T>::of_none();
  for (int32_t c = threadIdx.x; c < image.n_columns; c += kThreads) reached.add(image.y[image.columns[c]]);
  if (threadIdx.x == 0 && image.count_free() > 0) reached.add({rest, static_cast<T>(image.count_free())});
  return reached;
}

// The same of wide row g; with one, every anchor is a column.
template <class T>
__device__ __forceinline__ LogSum<T> reach_wide_row(const OtaImage<T>& image, int32_t g) {
  auto reached = LogSum<T>::of_none();
  for (int32_t a = threadIdx.x; a < image.n_columns; a += kThreads) {
    const T cost = image.p.read_wide_cost(image.b, g, image.rows[g], a);
    if (is_finite(cost)) reached.add(image.y[a] - image.scaled(cost));
  }
  return reached;
}

// The block to each wide row and to the background, as many of them at a time as there are warps, each of which then
// sets one. Returns the same as set_listed_rows.
template <class T>
__device__ __forceinline__ bool set_dense_rows(const OtaImage<T>& image) {
  __shared__ LogSum<T> parts[kWarps][kWarps];  // of rows, by warps
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const double rest = image.demand() - image.x[image.background()];
  bool settled = true;
  for (int32_t first = 0; first <= image.n_wide; first += kWarps) {
    const int32_t many = min(image.n_wide + 1 - first, kWarps);
    if (first > 0) __syncthreads();  // until the parts before are read
    for (int32_t r = 0; r < many; ++r) {
      const int32_t row = image.dense_row(first + r);
      const bool is_background = row == image.background();
      const LogSum<T> reached = is_background ? reach_background(image, rest) : reach_wide_row(image, row);
      const LogSum<T> part = warp_reduce(reached, AddLogSums());
      if (lane == 0) parts[r][warp] = part;
    }
    __syncthreads();
    if (warp < many) {
      const LogSum<T> part = lane < kWarps ? parts[warp][lane] : LogSum<T>::of_none();
      settled &= set_row(image, image.dense_row(first + warp), warp_reduce(part, AddLogSums()));
    }
  }
  return settled;
}

template <class T>
__device__ __forceinline__ void iterate(const OtaImage<T>& image) {
  const SinkhornRule& rule = image.p.rule.sinkhorn;
  for (int64_t t = 0; t < rule.iterations; ++t) {
    set_columns(image);
    __syncthreads();
    const bool listed_settled = set_listed_rows(image), dense_settled = set_dense_rows(image);
    const bool moves = __syncthreads_or(!(listed_settled && dense_settled));
    if (rule.tolerance > 0 && t > 0 && !moves) break;
  }
}

}  // namespace
}  // namespace yolox_ops
