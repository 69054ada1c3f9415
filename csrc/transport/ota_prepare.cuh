// What a block does before it iterates over an image: its rows' supplies and its columns' pairs.
#pragma once

#include <functional>

#include "core/scan.cuh"
#include "transport/ota_image.cuh"

namespace yolox_ops {
namespace {

template <class T>
__device__ __forceinline__ void prepare_row(const OtaImage<T>& image, int32_t row, int64_t supply, bool far) {
  image.supplies[row] = static_cast<T>(static_cast<double>(supply) + kTinyMass);
  image.x[row] = far ? -kOutsidePenalty * image.per_epsilon : 0.0;
  image.row_factors[row] = T(1);
}

// Numbers the dense rows; supplies, and the potentials to begin with.
template <class T>
__device__ __forceinline__ void prepare_rows(OtaImage<T>& image) {
  int64_t supplied = 0;
  for (int32_t first = 0; first < image.gts; first += kThreads) {
    const int32_t g = first + threadIdx.x;
    const OtaRow row = g < image.gts ? image.rows[g] : OtaRow{};
    const bool is_wide = row.reach == Reach::kWide;
    uint64_t total;
    const uint64_t rank = block_scan<kThreads>(is_wide, total);
    const int32_t dense = image.n_dense + static_cast<int32_t>(rank) - 1;
    if (is_wide) image.wide[dense - 1] = g;
    if (g < image.gts) prepare_row(image, is_wide ? image.background() + dense : g, row.k, row.far);
    supplied += row.k;
    image.n_dense += static_cast<int32_t>(total);
  }
  supplied = block_reduce<kThreads>(supplied, std::plus<>());
  if (threadIdx.x == 0) prepare_row(image, image.background(), max(image.p.batch.N - supplied, int64_t{0}), false);
}

// Counts the listed pairs of each anchor, in column_of; a pair's rank is that among them.
template <class T>
__device__ __forceinline__ void count_pairs(const OtaImage<T>& image) {
  for (int64_t a = threadIdx.x; a < image.p.batch.N; a += kThreads) image.column_of[a] = 0;
  __syncthreads();
  image.each_listed([&](int32_t i) { image.pair_rank[i] = atomicAdd(image.column_of + image.anchors[i], 1); });
  __syncthreads();
}

template <class T>
__device__ __forceinline__ int64_t count_listed_columns(const OtaImage<T>& image) {
  int64_t listed = 0;
  for (int64_t a = threadIdx.x; a < image.p.batch.N; a += kThreads) listed += image.column_of[a] > 0;
  return block_reduce<kThreads>(listed, std::plus<>());
}

// Numbers the columns: anchors in their order, those first that have listed pairs; and where the pairs of each begin.
template <class T>
__device__ __forceinline__ void list_columns(OtaImage<T>& image) {
  const int64_t N = image.p.batch.N;
  const int64_t listed = count_listed_columns(image);
  int64_t before = 0, pairs_before = 0;  // listed columns, and their pairs
  for (int64_t first = 0; first < N; first += kThreads) {
    const int64_t a = first + threadIdx.x;
    const uint64_t pairs = a < N ? image.column_of[a] : 0;
    uint64_t total;
    const uint64_t sums = block_scan<kThreads>(pairs << 32 | (pairs > 0), total);  // of pairs and of columns
    const int64_t rank = before + static_cast<uint32_t>(sums);
    const int64_t column = pairs > 0 ? rank - 1 : listed + a - rank;
    if (a < N) {
      image.column_of[a] = static_cast<int32_t>(column);
      image.columns[column] = static_cast<int32_t>(a);
    }
    if (pairs > 0) image.begin[column] = static_cast<int32_t>(pairs_before + (sums >> 32) - pairs);
    before += static_cast<uint32_t>(total);
    pairs_before += total >> 32;
  }
  if (threadIdx.x == 0) image.begin[listed] = static_cast<int32_t>(pairs_before);
  image.n_listed = static_cast<int32_t>(listed);
  image.n_columns = image.n_dense > 1 ? static_cast<int32_t>(N) : image.n_listed + (listed < N);
  __syncthreads();
  image.each_listed([&](int32_t i) { image.pair_column[i] = image.column_of[image.anchors[i]]; });
}

// Lays every pair in the slot of its rank among those of its column.
template <class T>
__device__ __forceinline__ void lay_pairs(const OtaImage<T>& image) {
  image.each_listed([&](int32_t i) { image.order[image.begin[image.pair_column[i]] + image.pair_rank[i]] = i; });
  __syncthreads();
}

// Ranks the pairs of each column by their ground truths: the order in which they came was the threads' luck.
template <class T>
__device__ __forceinline__ void rank_pairs(const OtaImage<T>& image) {
  image.each_listed([&](int32_t i) {
    int32_t rank = 0;
    image.each_of_column(image.pair_column[i], [&](int32_t other) { rank += other < i; });
    image.pair_rank[i] = rank;
  });
  __syncthreads();
}

// The columns, and the listed pairs of each, in order.
template <class T>
__device__ __forceinline__ void prepare_columns(OtaImage<T>& image) {
  count_pairs(image);
  list_columns(image);
  lay_pairs(image);
  rank_pairs(image);
  lay_pairs(image);
}

}  // namespace
}  // namespace yolox_ops
