// The transport problem of one image, as the block that solves it reads it.
#pragma once

#include "transport/ota_pairs.cuh"

namespace yolox_ops {
namespace {

// Threads that solve one image.
constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;

// The workspace of solve. Row g is that of ground truth g, if its pairs are listed. Row G is the background's, and
// those after it are the wide ground truths': these rows are dense. A column is an anchor: first come those that have
// listed pairs, then those that only dense rows have pairs with. With no dense row but the background's these are one
// column, the free one, that demands what all of them do.
template <class T>
struct Workspace {
  double* x;             // [B, 2 G + 1], potentials of rows
  double* y;             // [B, N], of columns
  T* row_factors;        // [B, 2 G + 1]
  T* column_factors;     // [B, N]
  T* supplies;           // [B, 2 G + 1]
  T* entries;            // [B, G, kListed], of listed pairs
  T* dense_entries;      // [B, slots + 1, N]
  int32_t* wide;         // [B, G], ground truths that have a dense row, ascending
  int32_t* pair_rank;    // [B, G, kListed], of a pair among those of its column
  int32_t* pair_column;  // [B, G, kListed]
  int32_t* column_of;    // [B, N], of an anchor
  int32_t* columns;      // [B, N], anchors
  int32_t* begin;        // [B, N + 1], of a column's listed pairs
  int32_t* order;        // [B, G, kListed], pairs by column, then by ground truth
};

// One image: its parts of the pairs and of the workspace.
template <class T>
struct OtaImage : Workspace<T> {
  const OtaPairs<T>& p;
  int64_t b;
  double per_epsilon;
  int32_t gts;
  int32_t n_dense = 1;     // rows; the background's is the first
  int32_t n_listed = 0;    // columns that have listed pairs
  int32_t n_columns = 0;   // all
  const OtaRow* rows;      // [G]
  const int32_t* anchors;  // [G, kListed]
  const T* costs;          // [G, kListed]

  __device__ OtaImage(const OtaPairs<T>& pairs, const Workspace<T>& w, int64_t image)
      : Workspace<T>(w),
        p(pairs),
        b(image),
        per_epsilon(1 / p.rule.sinkhorn.epsilon),
        gts(static_cast<int32_t>(p.batch.count_gts(b))) {
    const int64_t G = p.batch.G, N = p.batch.N;
    rows = p.rows + b * G;
    anchors = p.anchors + b * G * kListed;
    costs = p.costs + b * G * kListed;
    this->x += b * (2 * G + 1);
    this->y += b * N;
    this->row_factors += b * (2 * G + 1);
    this->column_factors += b * N;
    this->supplies += b * (2 * G + 1);
    this->entries += b * G * kListed;
    this->dense_entries += b * (p.slots + 1) * N;
    this->wide += b * G;
    this->pair_rank += b * G * kListed;
    this->pair_column += b * G * kListed;
    this->column_of += b * N;
    this->columns += b * N;
    this->begin += b * (N + 1);
    this->order += b * G * kListed;
  }

  // The background's row.
  __device__ int32_t background() const { return static_cast<int32_t>(p.batch.G); }
  // Anchors that share the free column, which is the last; else 0.
  __device__ int32_t count_free() const { return n_dense > 1 ? 0 : static_cast<int32_t>(p.batch.N) - n_listed; }
  // Dense rows whose entries are kept.
  __device__ int32_t count_kept() const { return min(n_dense, static_cast<int32_t>(p.slots) + 1); }
  __device__ double scaled(T cost) const { return scale_cost(cost, per_epsilon); }

  // Calls visit(pair) for this thread's share of the listed pairs.
  template <class Visit>
  __device__ __forceinline__ void each_listed(const Visit& visit) const {
    for (int64_t i = threadIdx.x; i < int64_t{gts} * kListed; i += kThreads) {
      if (i % kListed < rows[i / kListed].pairs) visit(static_cast<int32_t>(i));
    }
  }

  // Calls visit(column) for this thread's share: every kThreads-th.
  template <class Visit>
  __device__ __forceinline__ void each_column(const Visit& visit) const {
#pragma unroll 4
    for (int32_t c = threadIdx.x; c < n_columns; c += kThreads) visit(c);
  }

  // Calls visit(pair) for the listed pairs of a column.
  template <class Visit>
  __device__ __forceinline__ void each_of_column(int32_t column, const Visit& visit) const {
    if (column >= n_listed) return;
    for (int32_t i = this->begin[column]; i < this->begin[column + 1]; ++i) visit(this->order[i]);
  }

  // In dense row `dense`, of which 0 is the background's.
  __device__ __forceinline__ T read_dense_cost(int32_t dense, int32_t column) const {
    if (dense == 0) return T(0);
    const int32_t g = this->wide[dense - 1];
    return p.read_wide_cost(b, g, rows[g], this->columns[column]);
  }

  __device__ __forceinline__ T compute_dense_entry(int32_t dense, int32_t column) const {
    return entry(this->x[background() + dense] + this->y[column], read_dense_cost(dense, column), per_epsilon);
  }

  __device__ __forceinline__ T* point_at_entries(int32_t dense) const {
    return this->dense_entries + int64_t{dense} * p.batch.N;
  }
};

}  // namespace
}  // namespace yolox_ops
