// What sinkhorn's kernels share: the problem, its workspace, and how costs are read.
#pragma once

#include "core/reader.h"
#include "core/reduce.cuh"
#include "transport/potential.cuh"

namespace yolox_ops {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
// Rows of a group: kHeld to a warp, whose entries a thread holds.
constexpr int kHeld = 7;
constexpr int kGroup = kWarps * kHeld;

// A thread's columns, one next to the other, and a block's.
template <class T>
constexpr int kWide = 16 / sizeof(T);
template <class T>
constexpr int kColumns = 32 * kWide<T>;
template <class T>
struct alignas(16) Several {
  T of[kWide<T>];
};

// Whether columns can be read kWide at a time: they lie densely, as T.
template <class T>
bool is_wide(const Tensor& cost) {  // [B, M, N]
  const auto fits = [](int64_t count) { return count % kWide<T> == 0; };
  return cost.scalar_type() == kDtype<T> && cost.stride(2) == 1 && fits(cost.size(2)) && fits(cost.stride(0)) &&
         fits(cost.stride(1)) && reinterpret_cast<uintptr_t>(cost.const_data_ptr()) % sizeof(Several<T>) == 0;
}

template <class T, bool wide>
class Costs {
 public:
  explicit Costs(const Tensor& cost)  // [B, M, N]
      : reader_(cost),
        data_(static_cast<const T*>(cost.const_data_ptr())),
        image_(cost.stride(0)),
        row_(cost.stride(1)),
        columns_(static_cast<int>(cost.size(2))) {}

  // From column j on, which is a multiple of kWide; in place of one that does not exist, the last.
  __device__ __forceinline__ Several<T> at(int64_t b, int i, int j) const {
    Several<T> costs;
    if constexpr (wide) {
      costs = *reinterpret_cast<const Several<T>*>(data_ + b * image_ + i * row_ + j);
    } else {
      for (int k = 0; k < kWide<T>; ++k) costs.of[k] = reader_.at(b, i, min(j + k, columns_ - 1));
    }
    return costs;
  }

  // The same of every kWarps-th row, as far as that many rows go.
  __device__ __forceinline__ void read(int64_t b, int i, int rows, int j, Several<T> (&costs)[kHeld]) const {
    const T* row = data_ + b * image_ + i * row_ + j;
#pragma unroll
    for (int k = 0; k < kHeld; ++k, row += kWarps * row_) {
      if (k * kWarps >= rows) continue;
      if constexpr (wide) {
        costs[k] = *reinterpret_cast<const Several<T>*>(row);
      } else {
        costs[k] = at(b, i + k * kWarps, j);
      }
    }
  }

  // The last column that a thread may begin with.
  __device__ int last() const { return wide ? columns_ - kWide<T> : columns_ - 1; }

 private:
  Reader<T> reader_;
  const T* data_;
  int64_t image_, row_;
  int columns_;
};

template <class T, bool wide>
struct Transport {
  int64_t B;
  int M, N;
  Costs<T, wide> costs;   // [B, M, N]
  Reader<double> supply;  // [B, M]
  Reader<double> demand;  // [B, N]
  CostScale<T> scale;
  double tolerance;
  int steps, tiles;  // a tile is so many times kColumns, and an image so many tiles
  // The workspace. Where there are two, iteration t has that of t % 2.
  Potential<T>* x;  // [2, B, M], of rows, as the iteration begins
  Potential<T>* y;  // [B, N], of columns
  T* demands;       // [B, N], as they count
  T* parts;         // [2, B, M, tiles], what a tile holds of a row as the iteration ends
  int64_t* ended;   // [2, B], the first iteration in which an image took no part, or 0

  __device__ __forceinline__ Potential<T>* x_of(int64_t t, int64_t b) const { return x + (t % 2 * B + b) * M; }
  __device__ __forceinline__ T* parts_of(int64_t t, int64_t b, int i) const {
    return parts + ((t % 2 * B + b) * M + i) * int64_t{tiles};
  }
  __device__ __forceinline__ int64_t& ended_by(int64_t t, int64_t b) const { return ended[t % 2 * B + b]; }

  // y of the columns that Costs::at reads.
  __device__ __forceinline__ void read_columns(int64_t b, int j, Potential<T> (&potentials)[kWide<T>]) const {
    const Potential<T>* of_image = y + b * N;
    for (int k = 0; k < kWide<T>; ++k) potentials[k] = wide ? of_image[j + k] : of_image[min(j + k, N - 1)];
  }
};

}  // namespace
}  // namespace yolox_ops
