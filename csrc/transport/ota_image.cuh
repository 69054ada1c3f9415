// The transport problem of one image, as the block that solves it reads it.
#pragma once

#include "transport/ota_pairs.cuh"

namespace yolox_ops {
namespace {

// Threads that solve one image.
constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;

// The workspace of solve. Potentials are over epsilon. Row G is the background.
struct Workspace {
  double* x;         // [B, G + 1], potentials of rows
  double* y;         // [B, N], potentials of columns
  double* supply;    // [B, G + 1], logarithms
  double* row_top;   // [B, G + 1], of the largest element of a row, without x
  int32_t* wide;     // [B, G], rows with a row of costs
  int32_t* begin;    // [B, N], of the listed pairs of an anchor, in order
  int32_t* length;   // [B, N], of the same
  int32_t* order;    // [B, G, kListed], pairs by anchor, then by ground truth
  int32_t* rank;     // [B, G, kListed], of a pair among those of its anchor, as they came
  int32_t* columns;  // [B, N], anchors that have pairs, ascending
};

// One image: its parts of the pairs and of the workspace.
template <class T>
struct OtaImage {
  const OtaPairs<T>& p;
  int64_t b;
  double per_epsilon;
  int32_t gts, n_wide, n_columns;
  const OtaRow* rows;      // [G]
  const int32_t* anchors;  // [G, kListed]
  const T* costs;          // [G, kListed]
  double* x;               // [G + 1]
  double* y;               // [N]
  double* supply;          // [G + 1]
  double* row_top;         // [G + 1]
  int32_t* wide;           // [n_wide]
  int32_t* begin;          // [N]
  int32_t* length;         // [N]
  int32_t* order;          // [G, kListed]
  int32_t* rank;           // [G, kListed]
  int32_t* columns;        // [n_columns]

  __device__ OtaImage(const OtaPairs<T>& pairs, const Workspace& w, int64_t image)
      : p(pairs), b(image), per_epsilon(1 / p.rule.sinkhorn.epsilon), gts(static_cast<int32_t>(p.batch.count_gts(b))) {
    const int64_t G = p.batch.G, N = p.batch.N;
    rows = p.rows + b * G;
    anchors = p.anchors + b * G * kListed;
    costs = p.costs + b * G * kListed;
    x = w.x + b * (G + 1);
    y = w.y + b * N;
    supply = w.supply + b * (G + 1);
    row_top = w.row_top + b * (G + 1);
    wide = w.wide + b * G;
    begin = w.begin + b * N;
    length = w.length + b * N;
    order = w.order + b * G * kListed;
    rank = w.rank + b * G * kListed;
    columns = w.columns + b * N;
  }

  __device__ int32_t background() const { return static_cast<int32_t>(p.batch.G); }
  // The wide rows, and the background after them.
  __device__ int32_t dense_row(int32_t i) const { return i == n_wide ? background() : wide[i]; }
  __device__ int64_t count_free() const { return p.batch.N - n_columns; }
  // Of a column, the logarithm; 1 and what is added to every demand.
  __device__ double demand() const { return ::log(1.0 + kTinyMass); }
  __device__ double scaled(T cost) const { return scale_cost(cost, per_epsilon); }

  // Calls visit(pair) for this thread's share of the listed pairs.
  template <class Visit>
  __device__ __forceinline__ void each_listed(const Visit& visit) const {
    for (int64_t i = threadIdx.x; i < int64_t{gts} * kListed; i += kThreads) {
      if (i % kListed < rows[i / kListed].pairs) visit(static_cast<int32_t>(i));
    }
  }

  // Calls visit(row, cost) for all pairs of an anchor.
  template <class Visit>
  __device__ __forceinline__ void each_of_column(int32_t anchor, const Visit& visit) const {
    for (int32_t i = begin[anchor]; i < begin[anchor] + length[anchor]; ++i) {
      visit(order[i] / kListed, costs[order[i]]);
    }
    for (int32_t r = 0; r < n_wide; ++r) {
      const T cost = p.read_wide_cost(b, wide[r], rows[wide[r]], anchor);
      if (is_finite(cost)) visit(wide[r], cost);
    }
  }

  // The row where an anchor has the largest share of a row's largest element, which is 1: as logarithms.
  __device__ int32_t find_winner(int32_t anchor) const {
    int32_t best = background();
    double most = -INFINITY;
    each_of_column(anchor, [&](int32_t g, T cost) {
      const double share = y[anchor] - scaled(cost) - row_top[g];
      if (share > most || (share == most && g < best)) {
        most = share;
        best = g;
      }
    });
    return y[anchor] - row_top[background()] > most ? background() : best;
  }
};

}  // namespace
}  // namespace yolox_ops
