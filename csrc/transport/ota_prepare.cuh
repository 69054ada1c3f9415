// What a block does before it iterates over an image: its rows' supplies and its columns' pairs.
#pragma once

#include <functional>

#include "core/scan.cuh"
#include "transport/ota_image.cuh"

namespace yolox_ops {
namespace {

// Supplies, and the potentials to begin with; the wide rows, in order.
template <class T>
__device__ __forceinline__ void prepare_rows(OtaImage<T>& image) {
  const int64_t N = image.p.batch.N;
  int64_t supplied = 0;
  image.n_wide = 0;
  for (int32_t first = 0; first < image.gts; first += kThreads) {
    const int32_t g = first + threadIdx.x;
    const OtaRow row = g < image.gts ? image.rows[g] : OtaRow{Reach::kNone, 0, 0, 0, false};
    if (g < image.gts) {
      image.supply[g] = ::log(row.k + kTinyMass);
      image.x[g] = row.far ? -kOutsidePenalty * image.per_epsilon : 0.0;
    }
    supplied += row.k;
    uint64_t total;
    const uint64_t rank = block_scan<kThreads>(row.reach == Reach::kWide, total);
    if (row.reach == Reach::kWide) image.wide[image.n_wide + rank - 1] = g;
    image.n_wide += static_cast<int32_t>(total);
  }
  supplied = block_reduce<kThreads>(supplied, std::plus<>());
  if (threadIdx.x == 0) {
    image.supply[image.background()] = ::log(max(N - supplied, int64_t{0}) + kTinyMass);
    image.x[image.background()] = 0.0;
  }
}

// Counts the listed pairs of each anchor; a pair's rank is that among them.
template <class T>
__device__ __forceinline__ void count_pairs(const OtaImage<T>& image) {
  for (int64_t a = threadIdx.x; a < image.p.batch.N; a += kThreads) image.length[a] = 0;
  __syncthreads();
  image.each_listed([&](int32_t i) { image.rank[i] = atomicAdd(image.length + image.anchors[i], 1); });
  __syncthreads();
}

// Lists the anchors that have pairs, all if a row is wide; and where the pairs of each begin.
template <class T>
__device__ __forceinline__ void list_columns(OtaImage<T>& image) {
  const int64_t N = image.p.batch.N;
  image.n_columns = 0;
  uint64_t before = 0;
  for (int64_t first = 0; first < N; first += kThreads) {
    const int64_t a = first + threadIdx.x;
    const uint64_t pairs = a < N ? image.length[a] : 0;
    const bool column = a < N && (pairs > 0 || image.n_wide > 0);
    uint64_t total;
    const uint64_t sums = block_scan<kThreads>(pairs << 32 | column, total);  // of pairs and of columns
    if (a < N) image.begin[a] = static_cast<int32_t>(before + (sums >> 32) - pairs);
    if (column) image.columns[image.n_columns + static_cast<int32_t>(sums) - 1] = static_cast<int32_t>(a);
    before += total >> 32;
    image.n_columns += static_cast<int32_t>(total);
  }
  __syncthreads();
}

// Lays every pair in the slot of its rank among those of its anchor.
template <class T>
__device__ __forceinline__ void lay_pairs(const OtaImage<T>& image) {
  image.each_listed([&](int32_t i) { image.order[image.begin[image.anchors[i]] + image.rank[i]] = i; });
  __syncthreads();
}

// Ranks the pairs of each anchor by their ground truths: the order in which they came was the threads' luck.
template <class T>
__device__ __forceinline__ void rank_pairs(const OtaImage<T>& image) {
  image.each_listed([&](int32_t i) {
    const int32_t* same_anchor = image.order + image.begin[image.anchors[i]];
    image.rank[i] = 0;
    for (int32_t m = 0; m < image.length[image.anchors[i]]; ++m) image.rank[i] += same_anchor[m] < i;
  });
  __syncthreads();
}

// Which anchors have pairs; and the listed pairs of each, in order.
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
